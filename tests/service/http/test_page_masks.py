"""The page's view of a translator that attends, in headless Chromium: its mask, how strong it paints, a link."""

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image
from selenium import webdriver

from service.settings import Settings
from tests.service.browser import Page
from tests.service.conftest import PATIENT, local_server, save_translator

AFTER = "document.querySelector('#translate-compare .after')"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, checkpoints: Path) -> Iterator[str]:
    """A service with a translator that attends, `seeing`, and one that does not, `horse`."""
    folder = tmp_path_factory.mktemp("attentive")
    save_translator(folder / "seeing.safetensors", attention=8)
    with local_server(Settings(models=(checkpoints, folder), store=folder / "store", **PATIENT)) as one:
        yield one.url


@pytest.fixture
def seeing(driver: webdriver.Chrome, url: str) -> Iterator[Page]:
    page = Page(driver, url)
    page.resize(390, 844, phone=True)
    yield page
    assert page.complaints() == []


@pytest.fixture
def photo(picture: Callable[..., bytes], tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(picture(72, 96))
    return path


def shown(page: Page, name: str) -> np.ndarray:
    page.until(f"{AFTER} !== null && document.querySelector('#translate-compare .tag.right').textContent === '{name}'")
    return page.pixels("#translate-compare .after")


def test_a_link_keeps_the_strength_and_shows_the_mask(seeing: Page, url: str, photo: Path) -> None:
    fields = {"model": "seeing", "direction": "b_to_a", "strength": 0.5, "mask": "true", "output": "json"}
    answer = requests.post(f"{url}/v1/translate", files={"images": photo.read_bytes()}, data=fields, timeout=300)
    expected = {
        name: np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
        for name, data in answer.json()["images"][0].items()
        if name in ("data", "mask")
    }
    link = "translate?model=seeing&direction=b_to_a&strength=0.5"
    seeing.open(f"{link}&mask=1")
    seeing.says("#translate-strength-field", "50 %")
    seeing.one("#translate-file").send_keys(str(photo))
    np.testing.assert_array_equal(shown(seeing, "mask"), expected["mask"])
    assert seeing.js("document.documentElement.scrollWidth <= innerWidth")
    seeing.js("document.querySelector('#translate-mask').click()")
    np.testing.assert_array_equal(shown(seeing, "horse"), expected["data"])
    assert seeing.js("location.hash") == f"#{link}"
    seeing.set("#translate-strength", "0")
    seeing.until("location.hash.endsWith('strength=0')")
    np.testing.assert_array_equal(shown(seeing, "horse"), np.asarray(Image.open(photo)))


def test_a_model_without_masks_shows_nothing_of_it(seeing: Page, photo: Path) -> None:
    seeing.open("translate?model=seeing&mask=1")
    seeing.says("#translate-mask-field", "mask")
    seeing.set("#translate-model", "horse")
    seeing.gone("#translate-strength-field")
    seeing.gone("#translate-mask-field")
    seeing.one("#translate-file").send_keys(str(photo))
    shown(seeing, "zebra")
    assert seeing.js("location.hash") == "#translate"


def test_a_link_to_a_model_that_is_gone_says_so(seeing: Page) -> None:
    seeing.open("translate?model=gone")
    seeing.says("#translate-fault", "The model gone of this link is not served here.")

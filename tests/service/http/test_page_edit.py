"""The page's view of places in latent space, in headless Chromium: a photo, sliders, a morph, a link."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
import requests
from PIL import Image
from selenium import webdriver

from tests.service.browser import Page

PHOTOS = sorted((Path(__file__).parents[2] / "fixtures" / "horse2zebra").rglob("*.jpg"))
DRAWN = "document.querySelector('#edit-canvas').dataset.drawn"


@pytest.fixture
def editing(driver: webdriver.Chrome, encoding: Any) -> Iterator[Page]:
    page = Page(driver, encoding.url)
    page.resize(1280, 900)
    yield page
    assert page.complaints() == []


def drawn(url: str, **body: Any) -> np.ndarray:
    answer = requests.post(f"{url}/v1/sample", json={**body, "output": "image"}, timeout=300)
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def codes(url: str, *paths: Path) -> list[list[float]]:
    files = [("images", (path.name, path.read_bytes())) for path in paths]
    answer = requests.post(f"{url}/v1/encode", files=files, data={"model": "mirror"}, timeout=300)
    return [photo["latent"] for photo in answer.json()["photos"]]


def shows(page: Page, text: str) -> None:
    """Waits until what is drawn is what the address says, and that holds this text."""
    page.until(f"({DRAWN} ?? '').includes(arguments[0]) && {DRAWN} === location.hash", text)


def test_sliders_move_a_sample_and_a_link_draws_the_same(editing: Page, encoding: Any) -> None:
    editing.open("edit?model=tiny&from=seed:7")
    shows(editing, "seed%3A7")
    np.testing.assert_array_equal(editing.pixels("#edit-canvas"), drawn(encoding.url, model="tiny", seed=7))
    editing.set("#edit-step-sefa-1", "2.5", "input")
    editing.set("#edit-step-sefa-3", "-1", "input")
    shows(editing, "sefa-3%3A-1")
    editing.says("#edit-steps", "+2.5")
    expected = drawn(encoding.url, model="tiny", seed=7, directions={"sefa-1": 2.5, "sefa-3": -1})
    np.testing.assert_array_equal(editing.pixels("#edit-canvas"), expected)
    link = str(editing.js("location.hash.slice(1)"))
    editing.open(link)
    shows(editing, "sefa-1")
    np.testing.assert_array_equal(editing.pixels("#edit-canvas"), expected)
    editing.one("#edit-reset").click()
    editing.until(f"!{DRAWN}.includes('sefa')")
    assert editing.js("document.querySelector('#edit-step-sefa-1').value") == "0"


def test_a_photo_is_found_again_and_its_link_holds_the_latent(editing: Page, encoding: Any) -> None:
    editing.open("edit")
    shows(editing, "model=mirror")  # the one with an encoder
    editing.one("#edit-first-file").send_keys(str(PHOTOS[0]))
    editing.says("#edit-first-note", "Found again within")
    shows(editing, "from=w")
    (code,) = codes(encoding.url, PHOTOS[0])
    expected = drawn(encoding.url, model="mirror", latents=[code], space="w")
    np.testing.assert_array_equal(editing.pixels("#edit-canvas"), expected)
    editing.set("#edit-step-sefa-2", "1", "input")
    shows(editing, "sefa-2")
    link = str(editing.js("location.hash.slice(1)"))
    moved = editing.pixels("#edit-canvas")
    assert (moved != expected).any()
    editing.open(link)
    shows(editing, "from=w")
    np.testing.assert_array_equal(editing.pixels("#edit-canvas"), moved)


def test_two_photos_morph(editing: Page, encoding: Any) -> None:
    editing.open("edit?model=mirror")
    shows(editing, "model=mirror")
    editing.one("#edit-first-file").send_keys(str(PHOTOS[0]))
    shows(editing, "from=w")
    editing.one("#edit-second-file").send_keys(str(PHOTOS[20]))
    shows(editing, "at=50")
    one, other = np.array(codes(encoding.url, PHOTOS[0], PHOTOS[20]))
    for at in (50, 80):
        editing.set("#edit-at", str(at), "input")
        shows(editing, f"at={at}")
        place = [(one + (other - one) * at / 100).tolist()]
        expected = drawn(encoding.url, model="mirror", latents=place, space="w").astype(int)
        assert np.abs(editing.pixels("#edit-canvas") - expected).max() <= 1
    editing.one("#edit-second-sample").click()
    shows(editing, "to=seed")


def test_a_kept_direction_has_its_slider_first(editing: Page, encoding: Any) -> None:
    body = {"name": "wild", "model": "classy", "a_seeds": [1, 2], "b_seeds": [3, 4]}
    assert requests.post(f"{encoding.url}/v1/directions", json=body, timeout=300).status_code == 201
    editing.open("edit?model=classy&from=seed:3&class=1")
    shows(editing, "class=1")
    assert editing.js("document.querySelector('#edit-steps input').id") == "edit-step-wild"
    editing.set("#edit-step-wild", "-1.5", "input")
    shows(editing, "wild")
    expected = drawn(encoding.url, **{"model": "classy", "seed": 3, "class": 1, "directions": {"wild": -1.5}})
    np.testing.assert_array_equal(editing.pixels("#edit-canvas"), expected)


def test_a_search_shows_its_progress_and_can_be_cancelled(editing: Page) -> None:
    editing.open("edit?model=tiny&from=seed:7")
    shows(editing, "seed%3A7")
    editing.one("#edit-first-file").send_keys(str(PHOTOS[0]))
    editing.says("#edit-stage", "the place of the photo")
    editing.one("#edit-cancel").click()
    editing.gone("#edit-work")
    editing.gone("#edit-fault")


def test_a_sample_of_a_model_with_classes_is_of_its_seeds_own_class(editing: Page, encoding: Any) -> None:
    editing.open("edit?model=classy&from=seed:7&class=0")
    shows(editing, "seed%3A7")
    editing.one("#edit-first-sample").click()
    editing.until(f"!{DRAWN}.includes('seed%3A7&')")
    shows(editing, "from=seed")
    editing.gone("#edit-fault")
    query = parse_qs(str(editing.js("location.hash.slice(6)")))
    seed, label = int(query["from"][0].removeprefix("seed:")), int(query["class"][0])
    assert label == seed % 2
    expected = drawn(encoding.url, **{"model": "classy", "seed": seed, "class": label})
    np.testing.assert_array_equal(editing.pixels("#edit-canvas"), expected)


def test_a_link_keeps_every_digit_of_a_seed(editing: Page, encoding: Any) -> None:
    seed = 2**63 - 25  # a number of JavaScript would be 2**63
    editing.open(f"edit?model=tiny&from=seed:{seed}")
    shows(editing, str(seed))
    np.testing.assert_array_equal(editing.pixels("#edit-canvas"), drawn(encoding.url, model="tiny", seed=seed))


@pytest.mark.parametrize(
    ("link", "says"),
    [
        (f"model=tiny&from=seed:{2**63}", "is no seed"),
        ("model=gone&from=seed:7", "gone of this link is not served"),
        ("model=mirror&from=w:AAAA_", "no place in this model"),
        ("model=tiny&from=w:AAAAAAAA", "no place in this model"),
        ("model=classy&from=seed:7&class=9", "no class 9"),
    ],
)
def test_a_link_to_nothing_says_so(editing: Page, link: str, says: str) -> None:
    editing.open(f"edit?{link}")
    editing.says("#edit-fault", says)


def test_a_link_with_too_few_numbers_or_a_lost_direction_has_the_services_sentence(editing: Page) -> None:
    for link, says in (
        ("model=mirror&from=w:AAAAAAAAAAA=", "6 numbers"),
        ("model=tiny&from=seed:7&steps=lost:1", "no direction lost"),
    ):
        editing.open(f"edit?{link}")
        editing.says("#edit-fault", says)
    assert all("400" in one or "404" in one for one in editing.complaints())


def test_on_a_phone_nothing_is_cut_off(editing: Page, picture: Callable[..., bytes], tmp_path: Path) -> None:
    editing.resize(390, 844, phone=True)
    editing.open("edit?model=mirror")
    shows(editing, "model=mirror")
    photo = tmp_path / "tall.png"
    photo.write_bytes(picture(200, 90))
    editing.one("#edit-first-file").send_keys(str(photo))
    shows(editing, "from=w")
    editing.js("document.querySelector('#edit-second-sample').click()")  # it is below the fold
    shows(editing, "to=seed")
    assert editing.js("document.documentElement.scrollWidth <= innerWidth")
    tabs = "document.querySelectorAll('.tabs a')"
    assert editing.js(f"[...{tabs}].every(tab => tab.getBoundingClientRect().right <= innerWidth)")
    editing.js("document.querySelector('#edit-step-sefa-6').scrollIntoView({block: 'end'})")
    box = "document.querySelector('#edit-canvas').getBoundingClientRect()"
    assert editing.js(f"{box}.top >= 0 && {box}.width > 200")  # in sight while the slider is turned

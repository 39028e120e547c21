"""POST /v1/translate with masks: the network's, the client's, and how much of the change is kept."""

import base64
import io
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from service.settings import Settings
from tests.service.conftest import PATIENT, Local, local_server, save_translator, wait_until

Picture = Callable[..., bytes]


@pytest.fixture(scope="module")
def attentive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A service whose translator has attention."""
    folder = tmp_path_factory.mktemp("attentive")
    save_translator(folder / "horse.safetensors", attention=8)
    with local_server(Settings(models=(folder,), store=folder / "store", **PATIENT)) as one:
        yield one


def translate(url: str, *images: bytes, masks: tuple[bytes, ...] = (), **fields: str) -> requests.Response:
    files = [("images", (f"photo{index}.png", data)) for index, data in enumerate(images)]
    files += [("mask", (f"mask{index}.png", data)) for index, data in enumerate(masks)]
    return requests.post(f"{url}/v1/translate", files=files, data=fields, timeout=300)


def refused(answer: requests.Response, where: str) -> str:
    assert answer.status_code == 400, answer.text[:500]
    assert answer.json()["error"]["where"] == where
    return str(answer.json()["error"]["message"])


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def png(levels: np.ndarray, mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(levels).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photo(picture: Picture) -> bytes:
    return picture(40, 56)


def test_the_mask_comes_beside_the_translation(attentive: Local, photo: bytes) -> None:
    alone = translate(attentive.url, photo)
    answer = translate(attentive.url, photo, mask="true")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as files:
        assert files.namelist() == ["000_photo0.png", "000_photo0.mask.png"]
        translated, mask = (files.read(name) for name in files.namelist())
    assert translated == alone.content
    levels = pixels(mask)
    assert levels.shape == (40, 56)
    assert 0 < (levels == 0).mean() < 1
    np.testing.assert_array_equal(pixels(translated)[levels == 0], pixels(photo)[levels == 0])

    described = translate(attentive.url, photo, mask="true", output="json").json()["images"][0]
    assert base64.b64decode(described["mask"]) == mask
    assert translate(attentive.url, photo, output="json").json()["images"][0]["mask"] is None
    assert "holds one image" in refused(translate(attentive.url, photo, mask="true", output="image"), "output")


def test_a_model_without_attention_has_no_mask_to_give(local: Local, photo: bytes) -> None:
    assert "no attention" in refused(translate(local.url, photo, mask="true"), "mask")


@pytest.mark.parametrize("service", ["attentive", "local"])
def test_a_clients_mask_says_what_may_change(service: str, request: pytest.FixtureRequest, photo: bytes) -> None:
    """Of any model: black keeps the photo, white lets the translation be what it is, grey lies between."""
    url = request.getfixturevalue(service).url
    whole, original = pixels(translate(url, photo).content).astype(int), pixels(photo).astype(int)
    levels = np.zeros((40, 56), np.uint8)
    levels[:, 20:], levels[:, 40:] = 100, 255
    made = pixels(translate(url, photo, masks=(png(levels),)).content).astype(int)
    np.testing.assert_array_equal(made[:, :20], original[:, :20])
    np.testing.assert_array_equal(made[:, 40:], whole[:, 40:])
    between = original + (whole - original) * 100 / 255
    assert np.abs(made - between)[:, 20:40].max() <= 0.51

    black, white = png(np.zeros((40, 56), np.uint8)), png(np.full((40, 56), 255, np.uint8))
    np.testing.assert_array_equal(pixels(translate(url, photo, masks=(black,)).content), original)
    np.testing.assert_array_equal(pixels(translate(url, photo, masks=(white,)).content), whole)


def test_both_masks_and_the_strength_are_in_the_mask_that_comes_back(attentive: Local, photo: bytes) -> None:
    levels = np.linspace(0, 255, 40 * 56).astype(np.uint8).reshape(40, 56)
    own = translate(attentive.url, photo, mask="true", output="json").json()["images"][0]["mask"]
    both = translate(attentive.url, photo, masks=(png(levels),), mask="true", strength="0.5", output="json").json()[
        "images"
    ][0]["mask"]
    expected = pixels(base64.b64decode(own)) * (levels / 255) * 0.5
    assert np.abs(pixels(base64.b64decode(both)) - expected).max() <= 0.51


def test_strength_goes_from_the_photo_to_the_translation(local: Local, photo: bytes) -> None:
    whole, original = pixels(translate(local.url, photo).content).astype(int), pixels(photo).astype(int)
    none, half, all_ = (pixels(translate(local.url, photo, strength=s).content) for s in ("0", "0.5", "1"))
    np.testing.assert_array_equal(none, original)
    np.testing.assert_array_equal(all_, whole)
    assert np.abs(half - (original + whole) / 2).max() <= 0.51


@pytest.mark.parametrize("strength", ["nan", "NaN", "inf", "-0.1", "1.01", "half"])
def test_a_strength_that_is_none_is_refused(local: Local, photo: bytes, strength: str) -> None:
    refused(translate(local.url, photo, strength=strength), "strength")


def test_a_mask_of_another_size_is_refused(local: Local, photo: bytes, picture: Picture) -> None:
    """Also one that has the photo's sides the other way round: a photo is taken as it is seen."""
    for height, width in ((40, 57), (20, 28), (56, 40)):
        message = refused(translate(local.url, photo, masks=(picture(height, width, "L"),)), "mask")
        assert "mask0.png has not the size of photo0.png, 56 x 40 pixels" in message
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    lying = picture(40, 56, kind="JPEG", exif=exif)
    assert translate(local.url, lying, masks=(picture(56, 40, "L"),)).status_code == 200
    refused(translate(local.url, lying, masks=(picture(40, 56, "L"),)), "mask")


def test_a_transparent_mask_is_refused_and_an_opaque_one_is_grey(local: Local, photo: bytes, picture: Picture) -> None:
    clear = np.zeros((40, 56, 4), np.uint8)
    assert "is transparent" in refused(translate(local.url, photo, masks=(png(clear, "RGBA"),)), "mask")
    levels = np.linspace(0, 255, 40 * 56).astype(np.uint8).reshape(40, 56)
    grey = translate(local.url, photo, masks=(png(levels),)).content
    for mode in ("RGB", "RGBA", "LA"):
        assert translate(local.url, photo, masks=(png(levels, mode),)).content == grey


def test_one_mask_for_all_or_one_for_each(local: Local, photo: bytes) -> None:
    black, white = png(np.zeros((40, 56), np.uint8)), png(np.full((40, 56), 255, np.uint8))
    alone = [translate(local.url, photo, masks=(mask,)).content for mask in (black, white)]

    def made(*masks: bytes) -> list[bytes]:
        answer = translate(local.url, photo, photo, masks=masks, output="json").json()
        return [base64.b64decode(one["data"]) for one in answer["images"]]

    assert made(black, white) == alone
    assert made(black) == [alone[0]] * 2
    message = refused(translate(local.url, photo, photo, masks=(black,) * 3), "mask")
    assert message.startswith("3 masks came for 2 images")


def test_a_mask_that_is_no_image_is_refused_by_name(local: Local, photo: bytes) -> None:
    answer = translate(local.url, photo, masks=(b"no image",))
    assert answer.status_code == 415
    assert "mask0.png" in answer.json()["error"]["message"]
    assert translate(local.url, photo, masks=(png(np.zeros((40, 56), np.uint8))[:60],)).status_code == 422


def test_a_job_does_the_same(attentive: Local, photo: bytes) -> None:
    levels = np.zeros((40, 56), np.uint8)
    levels[:, 28:] = 255
    files = [("images", ("photo0.png", photo)), ("mask", ("mask0.png", png(levels)))]
    fields = {"mask": "true", "strength": "0.75"}
    expected = translate(attentive.url, photo, masks=(png(levels),), **fields)
    job = requests.post(f"{attentive.url}/v1/jobs/translate", files=files, data=fields, timeout=60).json()["id"]
    view = f"{attentive.url}/v1/jobs/{job}"
    wait_until(lambda: requests.get(view, timeout=60).json()["state"] == "done", "the job")
    assert requests.get(f"{view}/result", timeout=60).content == expected.content

    wrong = [files[0], ("mask", ("mask0.png", png(levels[:, 1:])))]
    answer = requests.post(f"{attentive.url}/v1/jobs/translate", files=wrong, timeout=60)
    assert "has not the size" in refused(answer, "mask")


def test_the_document_says_that_mask_is_a_word_and_a_file(local: Local) -> None:
    document: Any = requests.get(f"{local.url}/docs.json", timeout=60).json()
    form = document["paths"]["/v1/translate"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    word, files = form["properties"]["mask"]["anyOf"]
    assert word["type"] == "boolean"
    assert files["items"]["format"] == "binary"
    assert {"mask", "strength"} <= form["properties"].keys()
    assert form["required"] == ["images"]

"""POST /v1/inspect: an image found later can be made again."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import requests
from PIL import Image, PngImagePlugin


def inspect(url: str, data: bytes, name: str = "image.png") -> requests.Response:
    return requests.post(f"{url}/v1/inspect", files={"image": (name, data)}, timeout=300)


@pytest.mark.parametrize(
    "body",
    [
        {"model": "tiny", "seed": 7},
        {"model": "tiny", "seed": 2**62 + 1, "truncation": 0.7},
        {"model": "classy", "seed": 3, "class": "cat"},
    ],
)
def test_a_sample_says_how_to_make_it_again(local: Any, body: dict[str, Any]) -> None:
    image = requests.post(f"{local.url}/v1/sample", json=body, timeout=300)
    answer = inspect(local.url, image.content).json()
    assert answer["seed"] == body["seed"]
    assert answer["model"] == image.headers["X-Model"]
    assert answer["digest"] == image.headers["X-Digest"]
    assert answer["served"] is True
    again = requests.post(f"{local.url}/v1/sample", json=answer["sample"], timeout=300)
    assert again.content == image.content


def test_an_image_of_unknown_origin(local: Any, picture: Callable[..., bytes]) -> None:
    answer = inspect(local.url, picture(20, 30, kind="JPEG")).json()
    assert (answer["format"], answer["width"], answer["height"], answer["mode"]) == ("jpeg", 30, 20, "RGB")
    assert (answer["seed"], answer["model"], answer["served"], answer["sample"]) == (None, None, False, None)


@pytest.mark.parametrize("seed", ["-1", "9" * 40, "1.5", "x", "²", ""])
def test_forged_text_is_only_text(local: Any, seed: str) -> None:
    text = PngImagePlugin.PngInfo()
    digest = requests.get(f"{local.url}/v1/models", timeout=300).json()["models"][0]["digest"]
    for key, value in (("gan.seed", seed), ("gan.digest", digest), ("gan.truncation", "nan?"), ("gan.class", "x")):
        text.add_itxt(key, value)
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG", pnginfo=text)
    answer = inspect(local.url, buffer.getvalue())
    assert answer.status_code == 200
    assert answer.json()["seed"] is None


def test_what_is_no_image(local: Any) -> None:
    assert inspect(local.url, b"").status_code == 415
    assert inspect(local.url, b"hello").status_code == 415

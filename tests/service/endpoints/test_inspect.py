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


@pytest.mark.parametrize("seed", ["-1", "9" * 40, "9" * 5000, "1.5", "x", "²", "٣", ""])
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


def png(**text: str) -> bytes:
    """A small PNG with compressed text."""
    info = PngImagePlugin.PngInfo()
    for key, value in text.items():
        info.add_text(key.replace("_", "."), value, zip=True)
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


@pytest.mark.parametrize("text", [{"gan_truncation": "1e999"}, {"gan_truncation": "nan"}, {"gan_class": "9" * 5000}])
def test_forged_text_beside_a_seed(local: Any, text: dict[str, str]) -> None:
    digest = requests.get(f"{local.url}/v1/models", timeout=300).json()["models"][0]["digest"]
    answer = inspect(local.url, png(gan_digest=digest, gan_seed="7", **text))
    assert answer.status_code == 200
    assert (answer.json()["served"], answer.json()["seed"], answer.json()["sample"]) == (True, 7, None)


def test_text_is_not_amplified(local: Any) -> None:
    data = png(**{f"k{index}": "\x01" * 900_000 for index in range(20)}, gan_seed="7", prompt="a cat")
    answer = inspect(local.url, data)
    assert answer.status_code == 200
    assert len(answer.content) < 10 * len(data)
    assert (answer.json()["seed"], answer.json()["text"]["prompt"]) == (7, "a cat")
    assert answer.json()["text_left_out"] == 20


def test_what_is_no_image(local: Any) -> None:
    assert inspect(local.url, b"").status_code == 415
    assert inspect(local.url, b"hello").status_code == 415

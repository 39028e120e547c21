"""POST /v1/inspect: an image found later can be made again."""

import base64
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image, PngImagePlugin

import models
from models import origin


def inspect(url: str, data: bytes, name: str = "image.png") -> requests.Response:
    return requests.post(f"{url}/v1/inspect", files={"image": (name, data)}, timeout=300)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
@pytest.mark.parametrize(
    "body",
    [
        {"model": "tiny", "seed": 7},
        {"model": "tiny", "seed": 2**62 + 1, "truncation": 0.7},
        {"model": "classy", "seed": 3, "class": "cat"},
        {"model": "tiny", "latents": [[0.1, -2.5, 0, 1e-20, 3, 1 / 3, 7, 8]]},
        {"model": "classy", "latents": [[1.5] * 8], "class": "dog"},
    ],
)
def test_a_sample_says_how_to_make_it_again(local: Any, body: dict[str, Any], kind: str) -> None:
    image = requests.post(f"{local.url}/v1/sample", json={**body, "format": kind}, timeout=300)
    answer = inspect(local.url, image.content).json()
    assert answer["seed"] == body.get("seed")
    assert answer["digital_source_type"] == "trainedAlgorithmicMedia"
    assert answer["model"] == image.headers["X-Model"]
    assert answer["digest"] == image.headers["X-Digest"]
    assert answer["served"] is True
    again = requests.post(f"{local.url}/v1/sample", json=answer["sample"], timeout=300)
    assert again.content == image.content


def test_the_longest_latent_has_room_in_every_format(serve: Any, tmp_path: Path) -> None:
    config = models.DCGANConfig(image_size=16, latent_size=4096, width=2)
    models.save(tmp_path / "long.safetensors", config.parts(), models.metadata_of(config))
    url = serve(models=(tmp_path,)).url
    latent = np.random.default_rng(0).standard_normal(4096).astype(np.float32).tolist()
    for kind in ("png", "jpeg", "webp", "avif"):
        image = requests.post(f"{url}/v1/sample", json={"latents": [latent], "format": kind}, timeout=300).content
        body = inspect(url, image).json()["sample"]
        assert body["latents"] == [latent]
        assert requests.post(f"{url}/v1/sample", json=body, timeout=300).content == image


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
def test_a_grid_tells_its_seeds(local: Any, kind: str) -> None:
    body = {"model": "tiny", "seed": [3, 1, 2], "output": "grid", "format": kind}
    answer = inspect(local.url, requests.post(f"{local.url}/v1/sample", json=body, timeout=300).content).json()
    assert (answer["text"]["gan.seeds"], answer["served"], answer["sample"]) == ("3,1,2", True, None)


@pytest.mark.parametrize("output", ["gif", "webp", "apng", "strip"])
def test_an_animation_tells_its_keyframes(local: Any, output: str) -> None:
    body = {"model": "tiny", "seeds": [3, 5], "output": output}
    answer = inspect(local.url, requests.post(f"{local.url}/v1/interpolate", json=body, timeout=300).content).json()
    assert answer["text"] == {"gan.model": answer["model"], "gan.digest": answer["digest"], "gan.seeds": "3,5"}
    assert (answer["digital_source_type"], answer["sample"]) == ("trainedAlgorithmicMedia", None)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
def test_a_translation_is_a_composite(local: Any, picture: Callable[..., bytes], kind: str) -> None:
    """Of what the photo says of itself, place and camera among it, nothing is taken along."""
    photo = picture(20, 30, kind="JPEG", exif=b"Exif\0\0secret", xmp=b"<secret/>")
    image = requests.post(
        f"{local.url}/v1/translate", files={"images": photo}, data={"format": kind}, timeout=300
    ).content
    answer = inspect(local.url, image).json()
    assert answer["digital_source_type"] == "compositeWithTrainedAlgorithmicMedia"
    assert (answer["served"], answer["sample"], b"secret" in image) == (True, None, False)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
def test_every_file_of_an_archive_is_marked(local: Any, kind: str) -> None:
    body = {"model": "tiny", "seed": 7, "n": 2, "output": "zip", "format": kind}
    archive = zipfile.ZipFile(io.BytesIO(requests.post(f"{local.url}/v1/sample", json=body, timeout=300).content))
    found = [inspect(local.url, archive.read(name)).json() for name in archive.namelist()]
    assert [(one["seed"], one["digital_source_type"]) for one in found] == [
        (7, "trainedAlgorithmicMedia"),
        (8, "trainedAlgorithmicMedia"),
    ]


def test_an_image_in_openais_shape_is_marked(local: Any) -> None:
    body = {"model": "tiny", "prompt": "", "seed": 7, "output_format": "jpeg"}
    answer = requests.post(f"{local.url}/v1/images/generations", json=body, timeout=300).json()
    found = inspect(local.url, base64.b64decode(answer["data"][0]["b64_json"])).json()
    assert (found["seed"], found["digital_source_type"]) == (7, "trainedAlgorithmicMedia")


def test_marks_of_others_are_told_too(local: Any, picture: Callable[..., bytes]) -> None:
    """A camera's mark, and the packet itself, which is not ours to take apart."""
    packet = (
        origin.Origin("trainedAlgorithmicMedia", {}).packet().replace(b"trainedAlgorithmicMedia", b"digitalCapture")
    )
    answer = inspect(local.url, picture(4, 4, kind="WEBP", xmp=packet)).json()
    assert (answer["digital_source_type"], answer["text"], answer["model"]) == ("digitalCapture", {}, None)
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet.decode())
    answer = inspect(local.url, picture(4, 4, pnginfo=info)).json()
    assert (answer["digital_source_type"], list(answer["text"])) == ("digitalCapture", ["XML:com.adobe.xmp"])


@pytest.mark.parametrize("latent", ["", "AAAA", "AAAAAAA", "AACAfw==", "\u00e9", "AADAfw=="])
def test_a_forged_latent_makes_nothing(local: Any, picture: Callable[..., bytes], latent: str) -> None:
    digest = requests.get(f"{local.url}/v1/models", timeout=300).json()["models"][0]["digest"]
    packet = origin.Origin("trainedAlgorithmicMedia", {"digest": digest, "latent": latent}).packet()
    answer = inspect(local.url, picture(4, 4, kind="JPEG", xmp=packet))
    assert answer.status_code == 200
    assert (answer.json()["served"], answer.json()["sample"]) == (True, None)


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

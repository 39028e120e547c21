"""POST /v1/images/generations, as OpenAI's clients send it."""

import base64
import io
from typing import Any

import pytest
import requests
from PIL import Image


def generate(url: str, **body: Any) -> requests.Response:
    return requests.post(f"{url}/v1/images/generations", json=body, timeout=300)


def test_what_a_client_sends_and_expects(local: Any) -> None:
    body = {"model": "tiny", "prompt": "a cat", "n": 2, "size": "auto", "quality": "hd", "style": "vivid", "user": "u"}
    answer = generate(local.url, **body, seed=7).json()
    assert isinstance(answer["created"], int)
    assert [one["seed"] for one in answer["data"]] == [7, 8]
    sample = requests.post(f"{local.url}/v1/sample", json={"model": "tiny", "seed": 7}, timeout=300).content
    assert base64.b64decode(answer["data"][0]["b64_json"]) == sample
    assert "url" not in answer["data"][0]


def test_a_url_holds_the_image_itself(local: Any) -> None:
    url = generate(local.url, model="tiny", prompt="", response_format="url").json()["data"][0]["url"]
    assert url.startswith("data:image/png;base64,")


@pytest.mark.parametrize("size", ["40x24", "16x16"])
def test_sizes_are_resampled(local: Any, size: str) -> None:
    answer = generate(local.url, model="tiny", prompt="", size=size, output_format="webp").json()
    image = Image.open(io.BytesIO(base64.b64decode(answer["data"][0]["b64_json"])))
    assert f"{image.width}x{image.height}" == size == answer["size"]
    assert image.format == "WEBP"


def test_a_prompt_names_a_class(local: Any) -> None:
    prompted = generate(local.url, model="classy", prompt="A small Dog, please", seed=2).json()["data"][0]["b64_json"]
    body = {"model": "classy", "seed": 2, "class": "dog", "output": "npz"}
    assert requests.post(f"{local.url}/v1/sample", json=body, timeout=300).status_code == 200
    other = generate(local.url, model="classy", prompt="a cat", seed=2).json()["data"][0]["b64_json"]
    assert prompted != other
    assert generate(local.url, model="classy", prompt="a house", seed=2).json()["data"][0]["b64_json"] == other


@pytest.mark.parametrize(
    "body", [{"n": 0}, {"n": 257}, {"size": "big"}, {"size": "9999x1"}, {"response_format": "file"}]
)
def test_what_is_out_of_bounds(local: Any, body: dict[str, Any]) -> None:
    answer = generate(local.url, **({"model": "tiny", "prompt": ""} | body))
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_a_size_that_is_none_is_told_how_to_write_one(local: Any) -> None:
    error = generate(local.url, size="256").json()["error"]
    assert (error["where"], "256x256" in error["message"]) == ("size", True)

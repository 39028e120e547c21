"""POST /v1/images/generations, as OpenAI's clients send it."""

import base64
import concurrent.futures
import io
import time
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from PIL import Image

from service.endpoints.openai import _classes


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
    ("prompt", "label"),
    [
        ("a dog", "dog"),
        ("DOG!", "dog"),
        ("(dog)", "dog"),
        ("a hotdog", None),
        ("dogmatic", None),
        ("dogs", None),
        ("traffic_light", "traffic light"),
        ("Traffic  light, please", "traffic light"),
        ("a light", None),
        ("a dog at a traffic light", "traffic light"),
        ("ein Käfer", "käfer"),
        ("ein Maikäfer", None),
    ],
)
def test_a_prompt_names_a_class_by_whole_words(prompt: str, label: str | None) -> None:
    network: Any = SimpleNamespace(classes=("cat", "dog", "traffic light", "käfer", "!"))
    assert _classes(network, prompt, [0, 1]) == ([label, label] if label else [0, 1])


def test_streaming_is_refused_and_not_ignored(local: Any) -> None:
    answer = generate(local.url, model="tiny", prompt="", stream=True, partial_images=1)
    assert (answer.status_code, answer.json()["error"]["where"]) == (400, "stream")
    assert generate(local.url, model="tiny", prompt="", stream=False).status_code == 200


def test_the_pixels_of_all_images_have_a_bound(local: Any) -> None:
    answer = generate(local.url, model="tiny", prompt="", n=256, size="2048x2048")
    assert (answer.status_code, answer.json()["error"]["where"]) == (413, "size")
    assert generate(local.url, model="tiny", prompt="", n=256, size="16x16").status_code == 200


def test_a_small_image_is_not_held_up_by_many_large_ones(serve: Any) -> None:
    """On one thread, with others' images to resize and encode that take seconds."""
    one = serve(encode_threads=1)
    finished: list[str] = []

    def large() -> None:
        assert generate(one.url, model="tiny", n=16, size="1024x1024", seed=1).ok
        finished.append("large")

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        inside = [pool.submit(large) for _ in range(2)]
        while one.runtime.telemetry.in_progress._value.get() < 2 and not finished:
            time.sleep(0.001)
        for _ in range(3):
            assert generate(one.url, model="tiny", size="20x20").ok
        finished.append("small")
        for each in inside:
            each.result()
    assert finished == ["small", "large", "large"]


def test_the_list_of_models_is_what_an_openai_client_reads(local: Any) -> None:
    answer = requests.get(f"{local.url}/v1/models", timeout=300).json()
    assert answer["object"] == "list"
    assert [one["id"].partition("@")[0] for one in answer["data"]] == ["classy", "tiny"]
    for one in answer["data"]:
        assert (one["object"], type(one["created"]), type(one["owned_by"])) == ("model", int, str)
        assert generate(local.url, model=one["id"]).ok


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

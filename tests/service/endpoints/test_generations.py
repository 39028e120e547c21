"""POST /v1/images/generations, as OpenAI's clients send it."""

import base64
import concurrent.futures
import io
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import openai
import pytest
import requests
from openai.types import ImageGenCompletedEvent, ImageGenPartialImageEvent
from PIL import Image

from service.endpoints.generations import _classes


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


@pytest.fixture(scope="module")
def client(local: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{local.url}/v1", api_key="unused", max_retries=0, timeout=300) as one:
        yield one


def picture_of(data: str | None) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(data or "")))
    image.load()
    return image


def test_openais_client_draws(local: Any, client: openai.OpenAI) -> None:
    answer = client.images.generate(prompt="a cat", model="tiny", n=2, background="opaque", extra_body={"seed": 7})
    assert (answer.size, answer.output_format, answer.background) == ("16x16", "png", "opaque")
    assert answer.usage is not None
    assert (answer.usage.total_tokens, answer.usage.input_tokens_details.text_tokens) == (0, 0)
    sample = requests.post(f"{local.url}/v1/sample", json={"model": "tiny", "seed": 7}, timeout=300).content
    assert base64.b64decode(answer.data[0].b64_json) == sample  # type: ignore[index, arg-type]


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_output_compression_is_the_quality(client: openai.OpenAI, kind: Any) -> None:
    def length(compression: int | None) -> int:
        answer = client.images.generate(
            prompt="", model="tiny", output_format=kind, output_compression=compression, extra_body={"seed": 7}
        )
        return len(answer.data[0].b64_json)  # type: ignore[index, arg-type]

    assert length(0) < length(50) < length(100)
    assert length(90) == length(None)


def test_a_png_is_not_compressed_with_a_loss(client: openai.OpenAI) -> None:
    client.images.generate(prompt="", model="tiny", output_format="png", output_compression=100)
    with pytest.raises(openai.BadRequestError, match="PNG is lossless"):
        client.images.generate(prompt="", model="tiny", output_compression=50)


def test_a_transparent_background_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="opaque or auto"):
        client.images.generate(prompt="", model="tiny", background="transparent")


@pytest.mark.parametrize("kind", ["gif", "svg"])
def test_formats_that_are_not_made_are_refused(client: openai.OpenAI, kind: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="output_format"):
        client.images.generate(prompt="", model="tiny", output_format=kind)


@pytest.mark.parametrize("partial", [None, 0, 2])
def test_a_stream_ends_with_what_the_answer_would_be(client: openai.OpenAI, partial: int | None) -> None:
    asked: dict[str, Any] = {"prompt": "", "model": "tiny", "n": 2, "extra_body": {"seed": 7}}
    events = list(client.images.generate(**asked, stream=True, partial_images=partial))
    first, second = events[: len(events) // 2], events[len(events) // 2 :]
    whole = client.images.generate(**asked).data
    for events, image in zip((first, second), whole, strict=True):
        *coarse, last = events
        assert [type(event) for event in coarse] == [ImageGenPartialImageEvent] * (partial or 0)
        assert [event.partial_image_index for event in coarse] == list(range(partial or 0))
        assert [picture_of(event.b64_json).size for event in coarse] == [(4, 4), (8, 8)][: partial or 0]
        assert isinstance(last, ImageGenCompletedEvent)
        assert (last.type, last.b64_json) == ("image_generation.completed", image.b64_json)
        assert (last.size, last.output_format, last.background, last.quality) == ("16x16", "png", "opaque", "auto")
        assert last.usage.total_tokens == 0


def test_what_is_wrong_with_a_stream_is_said_as_an_answer(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="There is no model"):
        client.images.generate(prompt="", model="gone", stream=True)
    with pytest.raises(openai.BadRequestError, match="partial_images"):
        client.images.generate(prompt="", model="tiny", stream=True, partial_images=4)


def test_openais_client_lists_and_retrieves_models(client: openai.OpenAI) -> None:
    for listed in client.models.list():
        assert client.models.retrieve(listed.id) == listed
        assert client.models.retrieve(listed.id.partition("@")[0]).id == listed.id
    assert client.models.retrieve("horse").object == "model"
    with pytest.raises(openai.NotFoundError, match="There is no model gone"):
        client.models.retrieve("gone")


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

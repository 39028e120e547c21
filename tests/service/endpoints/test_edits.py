"""POST /v1/images/edits, by OpenAI's client."""

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import openai
import pytest
import requests
from openai.types import ImageEditCompletedEvent, ImageEditPartialImageEvent
from PIL import Image

import models
from models.errors import InputError
from service.endpoints.edits import direction


@pytest.fixture(scope="module")
def client(local: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{local.url}/v1", api_key="unused", max_retries=0, timeout=300) as one:
        yield one


@pytest.fixture
def photo(picture: Callable[..., bytes]) -> bytes:
    return picture(20, 32, kind="JPEG")


def mask(size: tuple[int, int], mode: str) -> bytes:
    """As OpenAI has masks: the left half is opaque, the right half is clear and may change."""
    levels = np.zeros((*size, 4), np.uint8)
    levels[:, : size[1] // 2, 3] = 255
    buffer = io.BytesIO()
    Image.fromarray(levels).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def test_what_is_clear_in_the_mask_may_change_in_the_first_photo(client: openai.OpenAI, photo: bytes) -> None:
    whole = client.images.edit(image=("a.jpg", photo), prompt="zebra").data
    both = [("a.jpg", photo), ("b.jpg", photo)]
    masked = client.images.edit(image=both, mask=("mask.png", mask((20, 32), "RGBA")), prompt="zebra").data
    assert whole is not None
    assert masked is not None
    one, first, second = (np.asarray(opened(picture.b64_json)) for picture in (*whole, *masked))
    original = np.asarray(Image.open(io.BytesIO(photo)))
    assert np.array_equal(first[:, :16], original[:, :16])
    assert np.array_equal(first[:, 16:], one[:, 16:])
    assert np.array_equal(second, one)


def opened(data: str | None) -> Image.Image:
    assert data is not None
    return Image.open(io.BytesIO(base64.b64decode(data)))


def horses_and_zebras(*directions: models.Direction) -> models.Translator:
    config = models.ResNetConfig(width=4, blocks=1)
    networks = config.parts()
    metadata = models.metadata_of(config, domains=("horse", "zebra"))
    return models.Translator({direction: networks[direction] for direction in directions}, config, metadata, digest="")


def translated(url: str, photo: bytes, **fields: str) -> bytes:
    return requests.post(f"{url}/v1/translate", files={"images": photo}, data=fields, timeout=300).content


@pytest.mark.parametrize(
    ("prompt", "way"), [("Make it a zebra!", "a_to_b"), ("a horse, please", "b_to_a"), ("something else", "a_to_b")]
)
def test_the_prompt_names_the_domain(local: Any, client: openai.OpenAI, photo: bytes, prompt: str, way: str) -> None:
    answer = client.images.edit(image=("photo.jpg", photo), prompt=prompt)
    assert (answer.size, answer.output_format) == ("32x20", "png")
    assert answer.data is not None
    assert base64.b64decode(answer.data[0].b64_json or "") == translated(local.url, photo, direction=way)


@pytest.mark.parametrize(
    ("prompt", "way"),
    [
        ("Turn this horse into a zebra", "a_to_b"),
        ("zebra -> horse", "b_to_a"),
        ("ZEBRA", "a_to_b"),
        ("zebras and seahorses", "a_to_b"),
        ("", "a_to_b"),
    ],
)
def test_domains_are_named_by_whole_words_and_the_last_counts(prompt: str, way: str) -> None:
    network = horses_and_zebras("a_to_b", "b_to_a")
    assert direction(network, prompt) == way


def test_a_model_of_one_direction_goes_that_way() -> None:
    network = horses_and_zebras("b_to_a")
    assert direction(network, "") == "b_to_a"
    with pytest.raises(InputError, match="goes b_to_a") as caught:
        direction(network, "a zebra")
    assert caught.value.where == "prompt"


@pytest.mark.parametrize("count", [1, 3])
def test_a_list_of_photos_comes_back_in_order(
    local: Any, client: openai.OpenAI, picture: Callable[..., bytes], count: int
) -> None:
    photos = [picture(20, 24 + index, kind="PNG") for index in range(count)]
    answer = client.images.edit(image=[("photo.png", one) for one in photos], prompt="zebra")
    assert answer.data is not None
    files = [base64.b64decode(one.b64_json or "") for one in answer.data]
    assert files == [translated(local.url, one) for one in photos]


def test_size_format_and_compression(client: openai.OpenAI, photo: bytes) -> None:
    answer = client.images.edit(
        image=("a.jpg", photo), prompt="", size="64x40", output_format="webp", output_compression=50
    )
    assert answer.data is not None
    image = Image.open(io.BytesIO(base64.b64decode(answer.data[0].b64_json or "")))
    assert (answer.size, image.size, image.format) == ("64x40", (64, 40), "WEBP")


def test_an_edit_streams(client: openai.OpenAI, photo: bytes) -> None:
    partial, last = client.images.edit(image=("a.jpg", photo), prompt="", stream=True, partial_images=1)
    assert isinstance(partial, ImageEditPartialImageEvent)
    assert isinstance(last, ImageEditCompletedEvent)
    assert (partial.type, last.type) == ("image_edit.partial_image", "image_edit.completed")
    whole = client.images.edit(image=("a.jpg", photo), prompt="").data
    assert whole is not None
    assert last.b64_json == whole[0].b64_json


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mask": ("mask.png", mask((20, 32), "RGB"))}, "mask.png has no alpha"),
        ({"mask": ("mask.png", mask((20, 31), "RGBA"))}, "has not the size of photo.jpg"),
        ({"n": 2}, "has one translation"),
        ({"model": "tiny"}, "cannot do this"),
        ({"background": "transparent"}, "opaque or auto"),
        ({"size": "4000x1"}, "at most 2048x2048"),
    ],
)
def test_what_is_wrong_is_said(client: openai.OpenAI, photo: bytes, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(openai.BadRequestError, match=message):
        client.images.edit(**{"image": ("photo.jpg", photo), "prompt": "zebra", **wrong})


def test_more_photos_than_are_taken_under_both_names(local: Any, photo: bytes) -> None:
    files = [("image", photo)] * 9 + [("image[]", photo)] * 8
    answer = requests.post(f"{local.url}/v1/images/edits", files=files, timeout=300)
    assert (answer.status_code, answer.json()["error"]["where"]) == (413, "image")
    answer = requests.post(f"{local.url}/v1/images/edits", files={"mask": photo}, timeout=300)
    assert (answer.status_code, answer.json()["error"]["where"]) == (400, "image")

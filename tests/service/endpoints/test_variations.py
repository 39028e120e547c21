"""POST /v1/images/variations, by OpenAI's client."""

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import openai
import pytest
import requests
import torch
from PIL import Image

import models

pytestmark = pytest.mark.filterwarnings(
    "ignore:deprecated:DeprecationWarning"
)  # by OpenAI, whose newer models have no such call


@pytest.fixture(scope="module")
def client(encoding: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{encoding.url}/v1", api_key="unused", max_retries=0, timeout=300) as one:
        yield one


def pixels(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)))


def images(answer: Any) -> list[np.ndarray]:
    return [pixels(base64.b64decode(one.b64_json)) for one in answer.data]


def test_variations_lie_between_the_picture_and_samples(encoding: Any, client: openai.OpenAI) -> None:
    """The mirror's encoder undoes its generator, so the picture's code is that of its seed."""
    network = encoding.runtime.registry.sampler("mirror").unit.network
    drawn = requests.post(f"{encoding.url}/v1/sample", json={"model": "mirror", "seed": 3}, timeout=300).content
    answer = client.images.create_variation(image=("a.png", drawn), model="mirror", n=2, extra_body={"seed": 10})
    assert [one.model_extra for one in answer.data] == [{"seed": 10}, {"seed": 11}]
    codes = network.map(models.draw([3, 10, 11], 8))
    with torch.inference_mode():
        expected = models.to_uint8(network.draw(0.7 * codes[:1] + 0.3 * codes[1:], "w"))
    for image, right in zip(images(answer), expected, strict=True):
        np.testing.assert_allclose(image.astype(int), right, atol=2)  # the picture's pixels were rounded


def test_equal_seeds_vary_alike_and_others_do_not(client: openai.OpenAI, picture: Callable[..., bytes]) -> None:
    def vary(seed: int, n: int = 1) -> list[np.ndarray]:
        more = {"seed": seed}
        return images(client.images.create_variation(image=picture(40, 60), model="mirror", n=n, extra_body=more))

    first, second = vary(4, n=2)
    np.testing.assert_array_equal(first, vary(4)[0])
    np.testing.assert_array_equal(second, vary(5)[0])
    assert (first != second).any()


def test_a_variation_says_how_it_is_drawn_again(
    encoding: Any, client: openai.OpenAI, picture: Callable[..., bytes]
) -> None:
    """Without a model, the first that has an encoder."""
    made = client.images.create_variation(image=picture(20, 20), response_format="b64_json").data[0].b64_json
    assert made is not None
    file = base64.b64decode(made)
    told = requests.post(f"{encoding.url}/v1/inspect", files={"image": file}, timeout=300).json()
    assert told["model"].startswith("mirror@")
    assert told["digital_source_type"] == "compositeWithTrainedAlgorithmicMedia"
    again = requests.post(f"{encoding.url}/v1/sample", json=told["sample"], timeout=300).content
    np.testing.assert_array_equal(pixels(again), pixels(file))


def test_sizes_are_resampled(client: openai.OpenAI, picture: Callable[..., bytes]) -> None:
    answer = client.images.create_variation(image=picture(20, 20), model="mirror", size="256x256")
    assert answer.size == "256x256"
    assert images(answer)[0].shape == (256, 256, 3)


@pytest.mark.parametrize(
    ("model", "image", "status", "sentence"),
    [
        ("tiny", None, 400, "no variations"),
        ("horse", None, 400, "cannot do this"),
        ("mirror", b"no picture", 415, "not an image"),
    ],
)
def test_what_cannot_be_varied_says_so(
    client: openai.OpenAI, picture: Callable[..., bytes], model: str, image: bytes | None, status: int, sentence: str
) -> None:
    with pytest.raises(openai.APIStatusError, match=sentence) as refused:
        client.images.create_variation(image=image or picture(16, 16), model=model)
    assert refused.value.status_code == status

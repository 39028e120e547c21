"""POST /v1/sample: sums of points, steps along directions, and the spaces of an autoencoder."""

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import requests
import torch
from PIL import Image

import models


def sample(url: str, **body: Any) -> requests.Response:
    return requests.post(f"{url}/v1/sample", json=body, timeout=300)


def drawn(url: str, **body: Any) -> tuple[np.ndarray, np.ndarray]:
    """(images, latents)."""
    answer = sample(url, output="npz", **body)
    assert answer.status_code == 200, answer.text
    arrays = np.load(io.BytesIO(answer.content))
    return arrays["images"], arrays["latents"]


def network(local: Any, name: str) -> models.Generator:
    return local.runtime.registry.sampler(name).unit.network


def test_a_sum_of_terms_is_drawn_as_it_is(local: Any) -> None:
    own = [0.5] * 8
    terms = [
        {"seed": 1, "weight": 2},
        {"latent": own, "weight": -1.5},
        {"mean_of": [2, 3, own], "weight": 0.5},
        {"seed": 4.0},
    ]
    one, two, three, four = models.draw([1, 2, 3, 4], 8).double()
    half = torch.full((8,), 0.5, dtype=torch.float64)
    expected = 2 * one - 1.5 * half + 0.5 * (two + three + half) / 3 + four
    images, latents = drawn(local.url, model="tiny", combine=terms)
    np.testing.assert_allclose(latents[0], expected.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(images, drawn(local.url, model="tiny", latents=latents.tolist())[0])


def test_weights_that_sum_to_nothing_leave_a_difference(local: Any) -> None:
    _, latents = drawn(local.url, model="tiny", combine=[{"seed": 1, "weight": None}, {"seed": 1, "weight": -1}])
    np.testing.assert_array_equal(latents, np.zeros((1, 8)))


def test_steps_along_directions_are_added(local: Any) -> None:
    own = network(local, "tiny").latent_directions
    assert set(own) == {f"sefa-{number}" for number in range(1, 9)}
    images, latents = drawn(local.url, model="tiny", seed=[5, 6], directions={"sefa-1": 2, "sefa-3": -0.5})
    expected = models.draw([5, 6], 8) + 2 * own["sefa-1"] - 0.5 * own["sefa-3"]
    np.testing.assert_allclose(latents, expected.numpy(), rtol=1e-5, atol=1e-6)
    assert (images != drawn(local.url, model="tiny", seed=[5, 6])[0]).any()
    np.testing.assert_array_equal(drawn(local.url, model="tiny", seed=5, directions={})[1], models.draw([5], 8))


def test_an_autoencoder_adds_up_in_either_space(encoding: Any) -> None:
    unit = network(encoding, "mirror")
    latents = models.draw([1, 2], 8)
    codes = unit.map(latents).numpy()
    terms = [{"seed": 1, "weight": 3}, {"seed": 2, "weight": -1}]
    in_z = drawn(encoding.url, model="mirror", combine=terms)
    in_w = drawn(encoding.url, model="mirror", combine=terms, space="w")
    np.testing.assert_allclose(in_z[1][0], (3 * latents[0] - latents[1]).numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(in_w[1][0], 3 * codes[0] - codes[1], rtol=1e-4, atol=1e-5)
    steps = {"sefa-2": 1.5}
    moved = drawn(encoding.url, model="mirror", seed=1, directions=steps)
    expected = codes[:1] + 1.5 * unit.latent_directions["sefa-2"].numpy()
    np.testing.assert_allclose(moved[1], expected, rtol=1e-4, atol=1e-5)
    by_codes = drawn(encoding.url, model="mirror", latents=moved[1].tolist(), space="w")
    np.testing.assert_array_equal(by_codes[0], moved[0])
    plain = drawn(encoding.url, model="mirror", seed=[1, 2])[0].astype(int)
    as_codes = drawn(encoding.url, model="mirror", latents=codes.tolist(), space="w")[0].astype(int)
    assert np.abs(plain - as_codes).max() <= 1


@pytest.mark.parametrize(
    "body",
    [
        {"model": "tiny", "combine": [{"seed": 1}, {"seed": 2, "weight": -0.3}]},
        {"model": "tiny", "latents": [[0.25] * 8]},
        {"model": "tiny", "seed": 9, "directions": {"sefa-1": 3.25}, "truncation": 0.7},
        {"model": "classy", "seed": 9, "class": "dog", "directions": {"sefa-1": 3.25}},
        {"model": "mirror", "latents": [[0.1, -0.2, 0.3, 0, 0.5, 0.6]], "space": "w"},
        {"model": "mirror", "seed": 4, "directions": {"sefa-1": -2}},
    ],
    ids=lambda body: "-".join(map(str, body)),
)
def test_a_picture_says_how_to_make_it_again(encoding: Any, body: dict[str, Any]) -> None:
    first = sample(encoding.url, output="image", **body)
    found = requests.post(f"{encoding.url}/v1/inspect", files={"image": first.content}, timeout=300).json()
    assert found["sample"]["latents"]
    assert found["seed"] == body.get("seed")
    again = sample(encoding.url, output="image", **found["sample"])
    assert again.status_code == 200, again.text
    one, other = (np.asarray(Image.open(io.BytesIO(answer.content))) for answer in (first, again))
    np.testing.assert_array_equal(one, other)


def test_a_latent_that_is_not_ours_makes_nothing(local: Any, picture: Callable[..., bytes]) -> None:
    digest = local.runtime.registry.sampler("tiny").digest
    infinite = base64.b64encode(np.full(8, np.inf, np.float32).tobytes()).decode()
    for latent in ("no base64!", "AAA=", "", infinite):
        image = Image.open(io.BytesIO(picture(4, 4)))
        file = models.encode(np.asarray(image), text={"gan.digest": digest, "gan.latent": latent})
        found = requests.post(f"{local.url}/v1/inspect", files={"image": file}, timeout=300).json()
        assert (found["served"], found["sample"]) == (True, None)


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        ({"combine": []}, 400, "combine"),
        ({"combine": [{"seed": 1}] * 65}, 400, "combine"),
        ({"combine": [{"seed": 1}] * 10_000}, 400, "body"),
        ({"combine": [{"mean_of": list(range(256))}] * 5}, 413, "combine"),
        ({"combine": [{"weight": 1}]}, 400, "combine.0"),
        ({"combine": [{"seed": 1}, {"seed": 1, "latent": [0.0] * 8}]}, 400, "combine.1"),
        ({"combine": [{"seed": 1, "weight": 1e30}]}, 400, "combine.0.weight"),
        ({"combine": [{"seed": 1, "wieght": 1}]}, 400, "combine.0.wieght"),
        ({"combine": [{"latent": [0.0] * 7}]}, 400, "combine"),
        ({"combine": [{"latent": [1e300] * 8}]}, 400, "latents"),
        ({"combine": [{"seed": 1}], "seed": 1}, 400, "combine"),
        ({"combine": [{"seed": 1}], "latents": [[0.0] * 8]}, 400, "combine"),
        ({"combine": [{"seed": 1}], "n": 2}, 400, "n"),
        ({"combine": [{"seed": 1}], "space": "w"}, 400, "space"),
        ({"latents": [[0.0] * 8], "space": "w"}, 400, "space"),
        ({"latents": [[0.0] * 8], "space": "x"}, 400, "space"),
        ({"seed": 1, "directions": {"nothing": 1}}, 404, "directions"),
        ({"seed": 1, "directions": {"../x": 1}}, 400, "name"),
        ({"seed": 1, "directions": {"sefa-1": 1e30}}, 400, "directions"),
        ({"seed": 1, "directions": {"sefa-1": "a lot"}}, 400, "directions"),
        ({"seed": 1, "directions": {f"sefa-{number}": 1 for number in range(33)}}, 400, "directions"),
        ({"model": "classy", "combine": [{"seed": 1}]}, 400, "class"),
        ({"model": "mirror", "latents": [[0.0] * 8], "space": "w"}, 400, "latents"),
        ({"model": "mirror", "combine": [{"latent": [0.0] * 8}], "space": "w"}, 400, "combine"),
    ],
)
def test_what_makes_no_sense_is_said(encoding: Any, body: dict[str, Any], status: int, where: str) -> None:
    answer = sample(encoding.url, **{"model": "tiny", **body})
    assert (answer.status_code, answer.json()["error"]["where"]) == (status, where), answer.text


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(local: Any, number: str) -> None:
    for body in (f'{{"directions": {{"sefa-1": {number}}}}}', f'{{"combine": [{{"seed": 1, "weight": {number}}}]}}'):
        headers = {"Content-Type": "application/json"}
        answer = requests.post(f"{local.url}/v1/sample", data=body, headers=headers, timeout=300)
        assert answer.status_code == 400
        assert "finite number" in answer.json()["error"]["message"]

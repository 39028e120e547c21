"""/v1/directions, and what lists and uses them."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import requests

import models


def create(url: str, photos: dict[str, list[bytes]] | None = None, **fields: Any) -> requests.Response:
    if photos is None:
        return requests.post(f"{url}/v1/directions", json=fields, timeout=300)
    files = [(side, (f"{side}{number}.png", one)) for side, many in photos.items() for number, one in enumerate(many)]
    return requests.post(f"{url}/v1/directions", data=fields, files=files, timeout=300)


def latents(url: str, **body: Any) -> np.ndarray:
    answer = requests.post(f"{url}/v1/sample", json={**body, "output": "npz"}, timeout=300)
    assert answer.status_code == 200, answer.text
    return np.load(io.BytesIO(answer.content))["latents"]


def of(url: str, name: str) -> dict[str, Any]:
    cards = requests.get(f"{url}/v1/models", timeout=300).json()["models"]
    return next(card for card in cards if card["name"] == name)


def test_a_direction_of_seeds_is_made_listed_used_and_removed(local: Any) -> None:
    a, b = list(range(20)), list(range(100, 130))
    made = create(local.url, name="smile", model="tiny", a_seeds=a, b_seeds=b)
    assert made.status_code == 201, made.text
    assert made.headers["Location"] == "/v1/directions/smile"
    expected = (models.draw(b, 8).mean(dim=0) - models.draw(a, 8).mean(dim=0)).numpy()
    np.testing.assert_allclose(made.json()["vector"], expected, atol=1e-6)
    assert (made.json()["n_a"], made.json()["n_b"], made.json()["space"]) == (20, 30, "z")
    listed = requests.get(f"{local.url}/v1/directions", timeout=300).json()["directions"]
    assert "smile" in [one["name"] for one in listed]
    assert "vector" not in listed[0]
    assert requests.get(f"{local.url}/v1/directions/smile", timeout=300).json() == made.json()
    assert {"name": "smile", "kept": True} in of(local.url, "tiny")["latent_directions"]
    assert {"name": "sefa-1", "kept": False} in of(local.url, "tiny")["latent_directions"]
    assert {"name": "smile", "kept": True} not in of(local.url, "classy")["latent_directions"]
    moved = latents(local.url, model="tiny", seed=7, directions={"smile": -2})
    np.testing.assert_allclose(moved, models.draw([7], 8).numpy() - 2 * expected, rtol=1e-5, atol=1e-6)
    of_another = requests.post(
        f"{local.url}/v1/sample", json={"model": "classy", "directions": {"smile": 1}}, timeout=300
    )
    assert of_another.status_code == 400
    assert "another model, tiny@" in of_another.json()["error"]["message"]
    assert create(local.url, name="smile", model="tiny", a_seeds=[1], b_seeds=[2]).status_code == 409
    assert requests.delete(f"{local.url}/v1/directions/smile", timeout=300).json() == made.json()
    assert requests.get(f"{local.url}/v1/directions/smile", timeout=300).status_code == 404


def test_a_direction_of_photos_lives_where_the_encoder_puts_them(encoding: Any, picture: Callable[..., bytes]) -> None:
    photos = {"a": [picture(20, 20), picture(30, 40)], "b": [picture(25, 90), picture(50, 16)]}
    made = create(encoding.url, photos, name="wide", method="linear")
    assert made.status_code == 201, made.text
    assert (made.json()["space"], made.json()["method"], made.json()["accuracy"]) == ("w", "linear", 1.0)
    assert made.json()["model"].startswith("mirror@")  # the first one with an encoder
    step = np.array(made.json()["vector"])
    still, moved = (
        latents(encoding.url, model="mirror", seed=3, space="w", directions=one) for one in ({"sefa-1": 0}, {"wide": 1})
    )
    np.testing.assert_allclose(moved[0] - still[0], step, rtol=1e-3, atol=1e-4)
    mixed = create(encoding.url, {"a": photos["a"]}, name="mixed", model="mirror", b_seeds="1, 2,3", method="means")
    assert mixed.status_code == 201, mixed.text
    assert mixed.json()["n_b"] == 3


def test_codes_and_latents_are_taken(encoding: Any) -> None:
    for space, size, shift in (("z", 8, 0.5), ("w", 6, -1.0)):
        rows = [[0.0] * size], [[shift] * size]
        made = create(
            encoding.url, name=f"by-{space}", model="mirror", a_latents=rows[0], b_latents=rows[1], space=space
        )
        assert made.status_code == 201, made.text
        assert made.json()["space"] == "w"
    np.testing.assert_allclose(made.json()["vector"], [-1.0] * 6)


@pytest.mark.parametrize(
    ("fields", "status", "where"),
    [
        ({}, 400, "a"),
        ({"a_seeds": [1]}, 400, "b"),
        ({"a_seeds": [1], "a_latents": [[0.0] * 8], "b_seeds": [2]}, 400, "a"),
        ({"a_seeds": [1], "b_seeds": [1]}, 400, "b"),
        ({"a_seeds": [], "b_seeds": [1]}, 400, "a_seeds"),
        ({"a_seeds": [-1], "b_seeds": [1]}, 400, "a_seeds.0"),
        ({"a_seeds": "1,2", "b_seeds": [3]}, 400, "a_seeds.0"),
        ({"a_latents": [[0.0] * 7], "b_seeds": [1]}, 400, "a_latents"),
        ({"a_seeds": [1], "b_seeds": [2], "name": "../x"}, 400, "name"),
        ({"a_seeds": [1], "b_seeds": [2], "name": "sefa-1"}, 400, "name"),
        ({"a_seeds": [1], "b_seeds": [2], "method": "guess"}, 400, "method"),
        ({"a_seeds": [1], "b_seeds": [2], "space": "w"}, 400, "space"),
        ({"a_seeds": [1], "b_seeds": [2], "model": "horse"}, 400, "model"),
    ],
)
def test_what_gives_no_direction_is_said(local: Any, fields: dict[str, Any], status: int, where: str) -> None:
    answer = create(local.url, **{"name": "new", "model": "tiny", **fields})
    assert (answer.status_code, answer.json()["error"]["where"]) == (status, where), answer.text


def test_lists_in_a_form_that_are_none(encoding: Any, picture: Callable[..., bytes]) -> None:
    for text, says in (("[[1,", "Write a list"), ("a,b", "in digits"), ("[" * 5000, "Write a list")):
        answer = create(encoding.url, {"a": [picture(9, 9)]}, name="new", model="mirror", b_seeds=text)
        assert (answer.status_code, says in answer.text) == (400, True), answer.text
    answer = create(encoding.url, {"a": [picture(9, 9)]}, name="new", model="tiny", b_seeds="1")
    assert (answer.status_code, "no encoder" in answer.text) == (400, True), answer.text

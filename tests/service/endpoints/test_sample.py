"""POST /v1/sample: what comes out, in which form, and that it is the same under load."""

import base64
import concurrent.futures
import io
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

import models


def sample(url: str, accept: str = "*/*", **body: Any) -> requests.Response:
    return requests.post(f"{url}/v1/sample", json=body, headers={"accept": accept}, timeout=300)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_the_real_service_samples(server: str) -> None:
    answer = sample(server, model="tiny", seed=7)

    assert answer.status_code == 200
    assert answer.headers["X-Seeds"] == "7"
    assert answer.headers["X-Request-ID"]
    assert pixels(answer.content).shape == (16, 16, 3)


def test_pixels_are_the_networks_own(local: Any, checkpoints: Any) -> None:
    network = models.load(checkpoints / "tiny.safetensors")
    assert isinstance(network, models.Generator)
    expected = models.to_uint8(network(models.draw([7], network.latent_size)))[0].astype(int)
    got = pixels(sample(local.url, model="tiny", seed=7).content).astype(int)
    assert np.abs(got - expected).max() <= 1  # batch norm is folded, which may round a level the other way


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_formats(local: Any, kind: str) -> None:
    answer = sample(local.url, model="tiny", seed=1, format=kind)
    assert answer.headers["content-type"] == f"image/{kind}"
    assert Image.open(io.BytesIO(answer.content)).format == kind.upper()


def test_a_grid_that_is_too_large_is_refused_before_it_is_drawn(local: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "MAX_PIXELS", 38 * 38 - 1)
    assert sample(local.url, model="tiny", n=3, output="zip").status_code == 200
    drawn = local.runtime.telemetry.images.labels("tiny", "sample")._value.get()
    answer = sample(local.url, model="tiny", n=3, output="grid")
    assert (answer.status_code, answer.json()["error"]["where"]) == (413, "output")
    assert local.runtime.telemetry.images.labels("tiny", "sample")._value.get() == drawn


def test_image_i_uses_seed_plus_i_in_every_output(local: Any) -> None:
    alone = [pixels(sample(local.url, model="tiny", seed=seed).content) for seed in (5, 6, 7)]

    archive = sample(local.url, model="tiny", seed=5, n=3, output="zip")
    with zipfile.ZipFile(io.BytesIO(archive.content)) as files:
        assert files.namelist() == ["000_seed5.png", "001_seed6.png", "002_seed7.png"]
        unpacked = [pixels(files.read(name)) for name in files.namelist()]
    arrays = np.load(io.BytesIO(sample(local.url, model="tiny", seed=5, n=3, output="npz").content))
    as_json = sample(local.url, model="tiny", seed=5, n=3, output="json").json()
    grid = pixels(sample(local.url, model="tiny", seed=5, n=3, output="grid").content)

    np.testing.assert_array_equal(unpacked, alone)
    np.testing.assert_array_equal(arrays["images"], alone)
    np.testing.assert_array_equal([pixels(base64.b64decode(one["data"])) for one in as_json["images"]], alone)
    np.testing.assert_array_equal(grid[2:18, 20:36], alone[1])
    assert (str(arrays["model"]), str(arrays["digest"])) == (as_json["model"], as_json["digest"])
    assert str(arrays["digital_source_type"]).endswith("/digitalsourcetype/trainedAlgorithmicMedia")
    assert arrays["seeds"].tolist() == as_json["seeds"] == [5, 6, 7]
    assert archive.headers["X-Seeds"] == "5,6,7"


@pytest.mark.parametrize(
    ("accept", "n", "media"),
    [
        ("*/*", 1, "image/png"),
        ("*/*", 2, "application/zip"),
        ("image/webp", 1, "image/webp"),
        ("image/jpeg;q=0.5, image/webp", 2, "image/webp"),
        ("application/json", 1, "application/json"),
        ("application/zip", 1, "application/zip"),
        ("application/x-npz", 2, "application/x-npz"),
        ("text/html, image/*;q=0.8", 1, "image/png"),
    ],
)
def test_accept_decides_where_no_field_does(local: Any, accept: str, n: int, media: str) -> None:
    answer = sample(local.url, accept, model="tiny", n=n, seed=1)
    assert answer.headers["content-type"] == media
    overruled = sample(local.url, accept, model="tiny", n=n, seed=1, output="json")
    assert overruled.headers["content-type"] == "application/json"


def test_an_accept_that_cannot_be_met(local: Any) -> None:
    assert sample(local.url, "text/html", model="tiny").status_code == 406


def test_without_a_seed_one_is_drawn_and_told(local: Any) -> None:
    first, second = sample(local.url, model="tiny"), sample(local.url, model="tiny")
    assert first.headers["X-Seeds"] != second.headers["X-Seeds"]
    again = sample(local.url, model="tiny", seed=int(first.headers["X-Seeds"]))
    assert again.content == first.content


def test_a_list_of_seeds_latents_and_the_largest_seed(local: Any) -> None:
    listed = sample(local.url, model="tiny", seed=[9, 2], output="npz")
    latents = np.load(io.BytesIO(listed.content))["latents"]
    np.testing.assert_array_equal(latents, models.draw([9, 2], 8).numpy())
    given = sample(local.url, model="tiny", latents=latents.tolist(), output="npz")
    np.testing.assert_array_equal(
        np.load(io.BytesIO(given.content))["images"], np.load(io.BytesIO(listed.content))["images"]
    )
    assert sample(local.url, model="tiny", seed=2**63 - 1, n=2).headers["X-Seeds"] == f"{2**63 - 1},0"


def test_classes_by_name_number_and_seed(local: Any) -> None:
    by_name = sample(local.url, **{"model": "classy", "seed": 4, "class": "dog"}).content
    by_number = sample(local.url, **{"model": "classy", "seed": 4, "class": 1}).content
    other = sample(local.url, **{"model": "classy", "seed": 4, "class": ["cat"]}).content
    default = sample(local.url, model="classy", seed=4).content
    assert by_name == by_number != other
    assert default == other  # seed 4 of two classes: class 0


def test_truncation_redraws_what_is_far_out(local: Any) -> None:
    answer = sample(local.url, model="tiny", seed=0, n=50, truncation=0.5, output="npz")
    assert np.abs(np.load(io.BytesIO(answer.content))["latents"]).max() <= 0.5


def test_the_model_is_found_by_name_version_and_kind(local: Any) -> None:
    named = sample(local.url, model="tiny", seed=1)
    assert sample(local.url, model=named.headers["X-Model"], seed=1).content == named.content
    assert sample(local.url, seed=1).status_code == 200  # the first sampler there is
    assert sample(local.url, model="absent").status_code == 404
    assert "cannot do this" in sample(local.url, model="horse").json()["error"]["message"]


@pytest.mark.parametrize("output", ["zip", "grid", "npz"])
def test_headers_fit_into_what_proxies_take(local: Any, output: str) -> None:
    """nginx takes 4 kB of them for all, and 256 seeds of 19 digits are more."""
    last = 2**63 - 1
    in_a_row = sample(local.url, model="tiny", n=256, seed=last - 200, output=output)
    assert in_a_row.headers["X-Seeds"] == f"{last - 200}..54"  # past the last seed it goes on at 0
    assert sample(local.url, model="tiny", n=256, seed=7, output=output).headers["X-Seeds"].startswith("7,8,9,")
    listed = sample(local.url, model="tiny", seed=[last - 2 * i for i in range(256)], output=output)
    for answer in (in_a_row, listed):
        assert answer.status_code == 200
        assert sum(len(name) + len(value) + 4 for name, value in answer.headers.items()) < 3000


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"n": 0}, "n"),
        ({"n": 257}, "n"),
        ({"n": "3"}, "n"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"seed": [1, 2], "n": 3}, "seed"),
        ({"seed": []}, "seed"),
        ({"latents": [[0.0] * 7]}, "latents"),
        ({"latents": [[0.0] * 8], "seed": 1}, "latents"),
        ({"latents": [[1e300] * 8]}, "latents"),
        ({"class": "cat"}, "class"),
        ({"class": 10**30}, "class"),
        ({"truncation": 0}, "truncation"),
        ({"format": "bmp"}, "format"),
        ({"quality": 101}, "quality"),
        ({"output": "image", "n": 2}, "output"),
        ({"colour": "red"}, "colour"),
        ({"latents": [[True] * 8] * 256}, "latents.0.0"),
    ],
)
def test_what_is_out_of_bounds_is_named(local: Any, body: dict[str, Any], where: str) -> None:
    answer = sample(local.url, **({"model": "tiny"} | body))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "invalid_input"
    assert error["where"].startswith(where)
    assert error["message"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_latents_that_are_not_numbers(local: Any, number: str) -> None:
    body = f'{{"model": "tiny", "latents": [[{number}, 0, 0, 0, 0, 0, 0, 0]]}}'
    answer = requests.post(
        f"{local.url}/v1/sample", data=body, headers={"content-type": "application/json"}, timeout=300
    )
    assert answer.status_code == 400


def test_the_same_seed_gives_the_same_pixels_under_load(serve: Callable[..., Any]) -> None:
    """96 requests of mixed sizes at once: each is what it is alone, and they share forward passes."""
    one = serve(max_batch=16)
    wanted = {seed: sample(one.url, model="tiny", seed=seed).content for seed in range(24)}
    before = one.runtime.telemetry.registry.get_sample_value("gan_batch_images_count", {"model": "tiny"})

    def ask(index: int) -> bool:
        seed, n = index % 20, 1 + index % 4
        if n == 1:
            return sample(one.url, model="tiny", seed=seed).content == wanted[seed]
        archive = sample(one.url, model="tiny", seed=seed, n=n, output="zip")
        with zipfile.ZipFile(io.BytesIO(archive.content)) as files:
            return [files.read(name) for name in files.namelist()] == [wanted[seed + i] for i in range(n)]

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        assert all(pool.map(ask, range(96)))
    passes = one.runtime.telemetry.registry.get_sample_value("gan_batch_images_count", {"model": "tiny"}) - before
    assert passes < 96

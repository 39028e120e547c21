"""POST /v1/encode: photos to latents, by an encoder, or by search as a job."""

import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch
from PIL import Image

import metrics
import models
from metrics.network.inception import Inception
from service.engine import inversion
from service.settings import Settings
from tests.service.conftest import PATIENT, local_server


@pytest.fixture(scope="module")
def searching(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A service without the FID weights, which searches by pixels alone."""
    folder = tmp_path_factory.mktemp("searching")
    settings = Settings(models=(checkpoints,), store=folder, inception_weights=folder / "none", **PATIENT)
    with local_server(settings) as one:
        yield one


def encode(url: str, photos: list[bytes], job: bool = False, accept: str = "*/*", **fields: Any) -> requests.Response:
    files = [("images", (f"{number}.png", photo)) for number, photo in enumerate(photos)]
    path = "/v1/jobs/encode" if job else "/v1/encode"
    return requests.post(f"{url}{path}", data=fields, files=files, headers={"accept": accept}, timeout=300)


def finished(url: str, answer: requests.Response, wait_until: Callable[..., None]) -> requests.Response:
    assert answer.status_code == 202, answer.text
    address = f"{url}/v1/jobs/{answer.json()['id']}"
    wait_until(lambda: requests.get(address, timeout=300).json()["state"] not in ("queued", "running"), "the job's end")
    return requests.get(f"{address}/result", timeout=300)


def sampled(url: str, **body: Any) -> bytes:
    return requests.post(f"{url}/v1/sample", json={**body, "output": "image"}, timeout=300).content


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_an_encoder_finds_the_code_of_what_was_drawn(encoding: Any) -> None:
    network = encoding.runtime.registry.sampler("mirror").unit.network
    codes = network.map(models.draw([3, 4], 8)).numpy()
    pictures = [sampled(encoding.url, model="mirror", seed=seed) for seed in (3, 4)]
    answer = encode(encoding.url, pictures, model="mirror")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["space"] == "w"
    assert [one["name"] for one in found["photos"]] == ["0.png", "1.png"]
    np.testing.assert_allclose([one["latent"] for one in found["photos"]], codes, atol=0.02)  # pixels are rounded
    for photo in found["photos"]:
        assert photo["class"] is None
        assert photo["l1"] < 1 / 255
        assert (photo["perceptual"] is None) != metrics.cached_weights().is_file()


def test_reconstructions_and_their_distances(encoding: Any, picture: Callable[..., bytes]) -> None:
    photo = picture(40, 60)
    image = encode(encoding.url, [photo], model="mirror", output="image")
    arrays = np.load(io.BytesIO(encode(encoding.url, [photo, photo], model="mirror", output="npz").content))
    np.testing.assert_array_equal(arrays["images"][1], pixels(image.content))
    square = models.centre_square(Image.open(io.BytesIO(photo)), 16, 3)
    np.testing.assert_array_equal(arrays["photos"][0], square)
    l1 = np.abs(square.astype(int) - arrays["images"][0]).mean() / 255
    assert float(image.headers["X-L1"]) == pytest.approx(l1, abs=1e-6)
    assert arrays["l1"][0] == pytest.approx(l1)
    drawn = requests.post(
        f"{encoding.url}/v1/sample",
        json={"model": "mirror", "latents": arrays["latents"][:1].tolist(), "space": str(arrays["space"])},
        timeout=300,
    )
    np.testing.assert_array_equal(pixels(drawn.content), arrays["images"][0])
    again = requests.post(f"{encoding.url}/v1/inspect", files={"image": image.content}, timeout=300).json()["sample"]
    np.testing.assert_array_equal(pixels(sampled(encoding.url, **again)), pixels(image.content))
    with zipfile.ZipFile(io.BytesIO(encode(encoding.url, [photo] * 2, model="mirror", output="zip").content)) as files:
        assert files.namelist() == ["000.png", "001.png"]


def test_the_form_is_what_accept_asks_for(encoding: Any, picture: Callable[..., bytes]) -> None:
    for accept, media in (("image/webp", "image/webp"), ("application/x-npz", "application/x-npz")):
        answer = encode(encoding.url, [picture(20, 20)], accept=accept, model="mirror")
        assert answer.headers["content-type"] == media
    refused = encode(encoding.url, [picture(20, 20)] * 2, accept="image/png", model="mirror")
    assert refused.status_code == 406


def test_photos_are_taken_as_translation_takes_them(encoding: Any, picture: Callable[..., bytes]) -> None:
    """One pixel, grey, alpha, an animation, sideways: the largest square about the centre, upright."""
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "blue")]
    animation = io.BytesIO()
    frames[0].save(animation, "GIF", save_all=True, append_images=frames[1:])
    turned = Image.Exif()
    turned[0x0112] = 6
    wide = Image.open(io.BytesIO(picture(24, 60)))
    sideways = io.BytesIO()
    wide.rotate(90, expand=True).save(sideways, "PNG", exif=turned)
    photos = {
        "pixel": (picture(1, 1), Image.open(io.BytesIO(picture(1, 1)))),
        "grey": (picture(30, 40, "L"), Image.open(io.BytesIO(picture(30, 40, "L")))),
        "alpha": (picture(30, 40, "RGBA"), Image.open(io.BytesIO(picture(30, 40, "RGBA")))),
        "animation": (animation.getvalue(), frames[0]),
        "sideways": (sideways.getvalue(), wide),
    }
    answer = encode(encoding.url, [photo for photo, _ in photos.values()], model="mirror", output="npz")
    assert answer.status_code == 200, answer.text
    for (name, (_, upright)), square in zip(photos.items(), np.load(io.BytesIO(answer.content))["photos"], strict=True):
        np.testing.assert_array_equal(square, models.centre_square(upright, 16, 3), err_msg=name)


def test_what_cannot_be_encoded_is_said(
    encoding: Any, picture: Callable[..., bytes], serve: Callable[..., Any]
) -> None:
    good = picture(20, 20)
    for photos, fields, status, says in (
        ([good], {"model": "tiny"}, 400, "POST /v1/jobs/encode"),
        ([good], {"model": "horse"}, 400, "cannot do this"),
        ([good], {"model": "none"}, 404, "no model"),
        ([b"words"], {"model": "mirror"}, 415, "0.png"),
        ([good[:60]], {"model": "mirror"}, 422, "0.png"),
        ([good] * 33, {"model": "mirror"}, 413, "at most 32"),
        ([good] * 2, {"model": "mirror", "output": "image"}, 400, "one image"),
        ([good], {"model": "mirror", "steps": "5"}, 400, "steps"),
        ([picture(2100, 2100)], {"model": "mirror"}, 413, "0.png"),
    ):
        answer = encode(encoding.url, photos, **fields)
        assert (answer.status_code, says in answer.text) == (status, True), answer.text


def test_a_job_of_a_model_with_an_encoder_gives_what_the_request_gives(
    encoding: Any, picture: Callable[..., bytes], wait_until: Callable[..., None]
) -> None:
    photo = picture(20, 30)
    by_job = finished(encoding.url, encode(encoding.url, [photo], job=True, model="mirror"), wait_until)
    assert by_job.json() == encode(encoding.url, [photo], model="mirror").json()
    refused = encode(encoding.url, [photo], job=True, model="mirror", steps=5)
    assert (refused.status_code, refused.json()["error"]["where"]) == (400, "steps")


def test_a_job_searches_where_there_is_no_encoder(searching: Any, wait_until: Callable[..., None]) -> None:
    """What the model drew itself is found again, more nearly than the nearest of many samples."""
    picture = sampled(searching.url, model="tiny", seed=11)
    short, long = (
        finished(
            searching.url, encode(searching.url, [picture], job=True, model="tiny", starts=2, steps=steps), wait_until
        ).json()["photos"][0]
        for steps in (1, 60)
    )
    assert long["l1"] < 0.6 * short["l1"]
    assert long["perceptual"] is None
    length = np.linalg.norm(long["latent"]) / np.sqrt(8)
    assert 0.6 < length < 1.4


def test_classes_are_looked_for_or_given(searching: Any, wait_until: Callable[..., None]) -> None:
    picture = sampled(searching.url, **{"model": "classy", "seed": 2, "class": "dog"})
    fields = {"model": "classy", "starts": 1, "steps": 2}
    for label, expected in (({}, (0, 1)), ({"class": "dog"}, (1,)), ({"class": "0"}, (0,))):
        answer = finished(searching.url, encode(searching.url, [picture], job=True, **fields, **label), wait_until)
        assert answer.json()["photos"][0]["class"] in expected
    refused = encode(searching.url, [picture], job=True, **fields, **{"class": "cow"})
    assert (refused.status_code, refused.json()["error"]["where"]) == (400, "class")


def test_the_perceptual_distance_has_its_say(checkpoints: Path) -> None:
    """Of two photos as near in pixels, the one that looks nearer is the better find."""
    torch.manual_seed(0)
    distance = metrics.PerceptualDistance(Inception().eval().requires_grad_(False))
    network = models.load(checkpoints / "tiny.safetensors", models.Generator)
    target = network(models.draw([5], 8)).clone()
    search, seeds = inversion.Search(1, 2), models.sample_seeds(0, inversion.candidates(1))
    by_both, by_pixels = (
        inversion.invert(network, target, search, seeds, one, lambda *_: None).images for one in (distance, None)
    )
    with torch.no_grad():
        assert float(distance(by_both, target)) <= float(distance(by_pixels, target))


def test_equal_jobs_find_equal_latents_and_a_cancelled_one_stops(
    searching: Any, wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, reports = threading.Event(), []
    step = inversion._Photo.steps

    def slowly(photo: inversion._Photo) -> Any:
        for _ in step(photo):
            begun.set()
            reports.append(1)
            yield

    monkeypatch.setattr(inversion._Photo, "steps", slowly)
    picture = sampled(searching.url, model="tiny", seed=5)
    submitted = encode(searching.url, [picture], job=True, model="tiny", steps=2000)
    address = f"{searching.url}/v1/jobs/{submitted.json()['id']}"
    assert begun.wait(300)
    assert requests.delete(address, timeout=300).json()["state"] == "cancelled"
    wait_until(lambda: searching.runtime.inverter.idle, "the search's end")
    assert len(reports) < 2000
    seeds = models.sample_seeds(3, inversion.candidates(1))
    network = searching.runtime.registry.sampler("tiny")
    loaded = models.load(network.source.path, models.Generator)
    target = models.to_float(pixels(picture)[None].copy())
    one, other = (
        inversion.invert(loaded, target, inversion.Search(2, 5), seeds, None, lambda *_: None).latents for _ in range(2)
    )
    np.testing.assert_array_equal(one, other)

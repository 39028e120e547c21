"""POST /v1/interpolate."""

import base64
import io
import zipfile
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image, ImageSequence

import models
from models.errors import LimitError
from service.endpoints.walks import MAX_JOB_FRAMES, InterpolateJob, Walk, walk_of


def interpolate(url: str, accept: str = "*/*", **body: Any) -> requests.Response:
    return requests.post(f"{url}/v1/interpolate", json=body, headers={"accept": accept}, timeout=300)


def frames_of(url: str, **body: Any) -> np.ndarray:
    answer = interpolate(url, output="json", **body)
    assert answer.status_code == 200, answer.text
    images = answer.json()["images"]
    return np.stack([np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in images])


def sampled(url: str, **body: Any) -> np.ndarray:
    content = requests.post(f"{url}/v1/sample", json=body | {"output": "npz"}, timeout=300).content
    return np.load(io.BytesIO(content))["images"]


def test_keyframes_are_the_samples_and_frames_are_the_slerp_between(local: Any) -> None:
    frames = frames_of(local.url, model="tiny", seeds=[1, 2, 3], steps=4)
    assert len(frames) == 9
    np.testing.assert_array_equal(frames[::4], sampled(local.url, model="tiny", seed=[1, 2, 3]))
    first, second = models.draw([1], 8), models.draw([2], 8)
    middle = models.slerp(first, second, 0.5).tolist()
    np.testing.assert_array_equal(frames[2], sampled(local.url, model="tiny", latents=middle)[0])


def test_a_loop_comes_back_without_repeating(local: Any) -> None:
    frames = frames_of(local.url, model="tiny", seeds=[1, 2], steps=3, loop=True, method="lerp")
    assert len(frames) == 6
    np.testing.assert_array_equal(frames[[0, 3]], sampled(local.url, model="tiny", seed=[1, 2]))
    np.testing.assert_array_equal(frames[2], frames[4])  # there and back on one straight line


def test_classes_are_keyframes_too(local: Any) -> None:
    frames = frames_of(local.url, model="classy", seeds=[5], classes=["cat", "dog"], steps=4)
    assert len(frames) == 5
    np.testing.assert_array_equal(frames[0], sampled(local.url, **{"model": "classy", "seed": 5, "class": "cat"})[0])
    np.testing.assert_array_equal(frames[4], sampled(local.url, **{"model": "classy", "seed": 5, "class": "dog"})[0])
    assert any((frames[2] != frames[end]).any() for end in (0, 4))


def test_a_form_names_classes_by_number_too(local: Any) -> None:
    fields = {"model": "classy", "seeds": "5", "classes": "0, dog", "steps": "4", "output": "json"}
    form = [(name, (None, value)) for name, value in fields.items()]
    answer = requests.post(f"{local.url}/v1/interpolate", files=form, timeout=300)
    by_number = interpolate(local.url, "application/json", model="classy", seeds=[5], classes=[0, "dog"], steps=4)
    assert answer.json() == by_number.json()


def test_classes_alone_get_one_seed_that_is_told(local: Any) -> None:
    answer = interpolate(local.url, "application/json", model="classy", classes=["cat", "dog"], steps=4).json()
    (seed,) = answer["seeds"]
    again = frames_of(local.url, model="classy", seeds=[seed], classes=["cat", "dog"], steps=4)
    first = Image.open(io.BytesIO(base64.b64decode(answer["images"][0])))
    np.testing.assert_array_equal(first, again[0])
    assert interpolate(local.url, model="classy", classes=["cat", "dog"]).headers["X-Seeds"] != str(seed)
    refused = interpolate(local.url, model="tiny", classes=["cat", "dog"])
    assert (refused.status_code, refused.json()["error"]["where"]) == (400, "class")


def test_a_map_has_its_keyframes_in_the_corners(local: Any) -> None:
    frames = frames_of(local.url, model="tiny", seeds=[1, 2, 3, 4], shape="map", steps=3)
    assert len(frames) == 9
    np.testing.assert_array_equal(frames[[0, 2, 6, 8]], sampled(local.url, model="tiny", seed=[1, 2, 3, 4]))
    sheet = interpolate(local.url, model="tiny", seeds=[1, 2, 3, 4], shape="map", steps=3)
    assert Image.open(io.BytesIO(sheet.content)).size == (48, 48)


def test_a_strip_is_all_frames_side_by_side(local: Any) -> None:
    frames = frames_of(local.url, model="tiny", seeds=[1, 2], steps=3)
    strip = np.asarray(Image.open(io.BytesIO(interpolate(local.url, model="tiny", seeds=[1, 2], steps=3).content)))
    np.testing.assert_array_equal(strip, np.concatenate(list(frames), axis=1))


@pytest.mark.parametrize(("output", "media"), [("gif", "GIF"), ("webp", "WEBP"), ("apng", "PNG")])
def test_animations(local: Any, output: str, media: str) -> None:
    answer = interpolate(local.url, model="tiny", seeds=[1, 2], steps=4, loop=True, output=output, frame_ms=50)
    assert answer.headers["content-type"] == f"image/{output}"
    assert answer.headers["X-Frames"] == "8"
    movie = Image.open(io.BytesIO(answer.content))
    assert movie.format == media
    assert sum(1 for _ in ImageSequence.Iterator(movie)) == 8


@pytest.mark.parametrize("output", ["strip", "apng", "zip", "json"])
def test_pngs_say_where_they_come_from(local: Any, output: str) -> None:
    answer = interpolate(local.url, model="tiny", seeds=[1, 2], steps=2, output=output)
    if output == "zip":
        with zipfile.ZipFile(io.BytesIO(answer.content)) as files:
            pngs = [files.read(name) for name in files.namelist()]
    else:
        pngs = [base64.b64decode(one) for one in answer.json()["images"]] if output == "json" else [answer.content]
    for png in pngs:
        origin = requests.post(f"{local.url}/v1/inspect", files={"image": png}, timeout=300).json()
        assert (origin["model"], origin["digest"]) == (answer.headers["X-Model"], answer.headers["X-Digest"])
        assert (origin["served"], origin["seed"]) == (True, None)
        assert origin["text"]["gan.seeds"] == answer.headers["X-Seeds"] == "1,2"


def test_a_map_takes_the_first_type_that_a_map_can_be(local: Any) -> None:
    corners = {"model": "tiny", "seeds": [1, 2, 3, 4], "shape": "map", "steps": 2}
    for accept, media in (
        ("image/gif, */*;q=0.8", "image/png"),
        ("image/webp", "image/webp"),  # a still one
        ("image/gif, application/zip", "application/zip"),
    ):
        assert interpolate(local.url, accept, **corners).headers["content-type"] == media
    assert interpolate(local.url, "image/gif", **corners).status_code == 406


def test_more_frames_than_a_job_makes_are_never_planned(local: Any) -> None:
    """A map of 10^8 latents would take the memory of the machine, and the event loop with it."""

    def walk(**asked: Any) -> Walk:
        tiny = local.runtime.registry.sampler("tiny")
        return walk_of(tiny, InterpolateJob(**asked), photos=0, seed=0, most=MAX_JOB_FRAMES)

    for many in ({"seeds": [1, 2, 3, 4], "shape": "map", "steps": 10_000}, {"seeds": [1, 2, 3], "steps": 5001}):
        with pytest.raises(LimitError, match=r"0,000,000 frames|10,003 frames"):
            walk(**many)
    assert walk(seeds=[1, 2], steps=9999).count == 10_000


def test_a_zip_and_accept(local: Any) -> None:
    answer = interpolate(local.url, "application/zip", model="tiny", seeds=[1, 2], steps=2, format="jpeg")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as files:
        assert files.namelist() == ["00000.jpeg", "00001.jpeg", "00002.jpeg"]
    assert interpolate(local.url, "image/gif", model="tiny", seeds=[1, 2]).headers["content-type"] == "image/gif"
    assert interpolate(local.url, "text/plain", model="tiny", seeds=[1, 2]).status_code == 406


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"seeds": [1]}, 400),
        ({}, 400),
        ({"seeds": [1, 2], "latents": [[0.0] * 8]}, 400),
        ({"latents": [[0.0] * 7, [0.0] * 8]}, 400),
        ({"seeds": [1, 2, 3], "shape": "map"}, 400),
        ({"seeds": [1, 2, 3, 4], "shape": "map", "loop": True}, 400),
        ({"seeds": [1, 2, 3, 4], "shape": "map", "output": "gif"}, 400),
        ({"seeds": [1, 2], "classes": ["cat", "dog"]}, 400),
        ({"seeds": [1, 2, 3], "steps": 200}, 413),
        ({"seeds": [1, 2], "steps": 0}, 400),
        ({"seeds": [1, 2], "truncation": 0.01}, 400),
    ],
)
def test_keyframes_that_make_no_walk(local: Any, body: dict[str, Any], status: int) -> None:
    assert interpolate(local.url, model="tiny", **body).status_code == status


def test_equal_and_opposite_latents_are_no_trouble(local: Any) -> None:
    ones, minus = [1.0] * 8, [-1.0] * 8
    assert len(frames_of(local.url, model="tiny", latents=[ones, ones, minus], steps=3)) == 7


def test_a_gif_is_not_faster_than_browsers_play_it(local: Any) -> None:
    body = {"model": "tiny", "seeds": [1, 2], "steps": 2, "frame_ms": 19}
    refused = interpolate(local.url, output="gif", **body)
    assert (refused.status_code, refused.json()["error"]["where"]) == (400, "frame_ms")
    assert interpolate(local.url, output="webp", **body).status_code == 200
    assert interpolate(local.url, output="gif", **{**body, "frame_ms": 20}).status_code == 200


def morph(url: str, photos: list[bytes], **fields: Any) -> requests.Response:
    files = [("images", (f"{number}.png", photo)) for number, photo in enumerate(photos)]
    return requests.post(f"{url}/v1/interpolate", data=fields, files=files, timeout=300)


def test_photos_are_keyframes(encoding: Any, picture: Any) -> None:
    """Before the seeds, in the space of codes, by straight lines."""
    photos = [picture(20, 30), picture(40, 16)]
    answer = morph(encoding.url, photos, steps=2, seeds="7", output="json")
    assert answer.status_code == 200, answer.text
    frames = [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in answer.json()["images"]]
    assert len(frames) == 5
    files = [("images", photo) for photo in photos]
    found = requests.post(f"{encoding.url}/v1/encode", files=files, data={"output": "npz"}, timeout=300)
    encoded = np.load(io.BytesIO(found.content))
    np.testing.assert_array_equal([frames[0], frames[2]], encoded["images"])
    middle = sampled(encoding.url, model="mirror", latents=[encoded["latents"].mean(axis=0).tolist()], space="w")[0]
    assert np.abs(frames[1].astype(int) - middle).max() <= 1
    last = sampled(encoding.url, model="mirror", seed=7)[0]
    assert np.abs(frames[4].astype(int) - last).max() <= 1


def test_codes_are_keyframes(encoding: Any) -> None:
    rows = np.random.default_rng(0).normal(size=(2, 6)).tolist()
    frames = frames_of(encoding.url, model="mirror", latents=rows, space="w", steps=2)
    np.testing.assert_array_equal(frames[[0, 2]], sampled(encoding.url, model="mirror", latents=rows, space="w"))


@pytest.mark.parametrize(
    ("fields", "count", "status", "where"),
    [
        ({"model": "tiny"}, 2, 400, "model"),
        ({"model": "mirror"}, 1, 400, "seeds"),
        ({"model": "mirror", "seeds": "1,2", "latents": "[[0]]"}, 1, 400, "seeds"),
        ({"model": "mirror", "latents": "[[0, 0]]", "space": "w"}, 1, 400, "latents"),
        ({"model": "mirror", "seeds": ",".join(map(str, range(31)))}, 2, 413, "images"),
        ({"model": "mirror", "steps": "300"}, 2, 400, "steps"),
    ],
)
def test_photos_that_make_no_path(
    encoding: Any, picture: Any, fields: dict[str, str], count: int, status: int, where: str
) -> None:
    answer = morph(encoding.url, [picture(9, 9)] * count, **fields)
    assert (answer.status_code, answer.json()["error"]["where"]) == (status, where), answer.text

"""POST /v1/translate of clips: GIF, animated WebP and APNG in, the same out, with their timing and loop."""

import io
import itertools
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image
from requests import Response

import models
from models.images import Pixels

MEDIA = {"gif": "image/gif", "webp": "image/webp", "apng": "image/apng"}
KINDS = {"gif": "GIF", "webp": "WEBP", "apng": "PNG"}
Wait = Callable[..., None]


def scenes(count: int, height: int = 18, width: int = 22) -> list[Pixels]:
    """Flat pictures that have nothing in common: everything moves."""
    return [np.full((height, width, 3), 40 + 190 * (index % 2) + index // 2, np.uint8) for index in range(count)]


def crossing(count: int, height: int = 24, width: int = 40) -> list[Pixels]:
    """A white square that crosses the left half of a ground that stands still, of few enough colours for a GIF."""
    rows, columns = np.mgrid[0:height, 0:width] // 4
    ground = np.stack([20 * columns, 40 * rows, 12 * columns + 8 * rows], axis=2).astype(np.uint8)
    frames = [ground.copy() for _ in range(count)]
    for index, frame in enumerate(frames):
        frame[4:12, 2 * index : 2 * index + 8] = 255
    return frames


def clip(kind: str, frames: Sequence[Pixels], durations: Sequence[int] | int = 50, **options: Any) -> bytes:
    images = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    exact = {"lossless": True} if kind == "webp" else {}
    about: dict[str, Any] = {"save_all": True, "append_images": images[1:], "duration": durations, **exact, **options}
    images[0].save(buffer, KINDS[kind], **about)
    return buffer.getvalue()


def post(url: str, *files: bytes, accept: str = "*/*", allowed: bytes | None = None, **fields: str) -> Response:
    parts = [("images", (f"{index}.clip", data)) for index, data in enumerate(files)]
    parts += [] if allowed is None else [("mask", ("mask.png", allowed))]
    return requests.post(url, files=parts, data=fields, headers={"accept": accept}, timeout=300)


def shown(file: bytes) -> list[models.Frame]:
    return list(models.frames(file, name="answer"))


def levels(frame: models.Frame) -> np.ndarray:
    return np.asarray(frame.image.convert("RGB")).astype(int)


def said(answer: Response) -> str:
    return str(answer.json()["error"]["message"])


@pytest.fixture(scope="module")
def url(local: Any) -> str:
    return f"{local.url}/v1/translate"


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_comes_back_as_it_was_with_its_timing_and_loop(url: str, kind: str) -> None:
    sent = clip(kind, scenes(3), [50, 120, 30], loop=2)
    answer = post(url, sent)
    assert (answer.status_code, answer.headers["content-type"]) == (200, MEDIA[kind]), answer.text[:300]
    with models.opened(sent) as before, models.opened(answer.content) as after:
        assert after.size == before.size
        assert models.motion(after) == models.motion(before)
    assert [frame.duration_ms for frame in shown(answer.content)] == [50, 120, 30]
    inspected = requests.post(url.replace("translate", "inspect"), files={"image": answer.content}, timeout=300).json()
    assert inspected["digital_source_type"] == "compositeWithTrainedAlgorithmicMedia"
    assert (inspected["model"].partition("@")[0], inspected["frames"]) == ("horse", 3)


def test_each_frame_is_what_it_would_be_as_a_photo(url: str) -> None:
    frames = scenes(4)
    made = shown(post(url, clip("apng", frames)).content)
    for frame, photo in zip(made, frames, strict=True):
        alone = post(url, models.encode(photo), format="png").content
        np.testing.assert_array_equal(levels(frame), np.asarray(Image.open(io.BytesIO(alone))))


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_still_is_the_same_in_all_frames(url: str, kind: str) -> None:
    """A translator that sees the whole of each frame would change it all; and a palette for each frame, too."""
    made = [levels(frame) for frame in shown(post(url, clip(kind, crossing(4))).content)]
    assert len(made) == 4
    for frame, following in itertools.pairwise(made):
        np.testing.assert_array_equal(following[:, 24:], frame[:, 24:])
        assert np.abs(following - frame)[4:12, :16].mean() > 1


FIREFOX = "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"


@pytest.mark.parametrize(
    ("kind", "fields", "accept", "media"),
    [
        ("gif", {}, "*/*", "image/gif"),
        ("gif", {}, "image/*", "image/gif"),
        ("apng", {}, FIREFOX, "image/webp"),  # which it names first of what moves
        ("gif", {}, "image/apng", "image/apng"),
        ("gif", {}, "image/png", "image/png"),  # the first frame: nothing that moves may come
        ("webp", {"format": "png"}, "*/*", "image/png"),
        ("apng", {"format": "gif"}, "*/*", "image/gif"),
        ("gif", {"format": "webp"}, "*/*", "image/webp"),
        ("still", {}, "*/*", "image/png"),
        ("still", {"format": "webp"}, "*/*", "image/webp"),
        ("still", {"format": "gif"}, "*/*", "image/gif"),  # of one frame
        ("still", {}, "image/gif", "image/gif"),
    ],
)
def test_the_format_is_the_clips_own_or_what_is_asked_for(
    url: str, kind: str, fields: dict[str, str], accept: str, media: str
) -> None:
    frames = crossing(2)
    answer = post(url, models.encode(frames[0]) if kind == "still" else clip(kind, frames), accept=accept, **fields)
    assert (answer.status_code, answer.headers["content-type"]) == (200, media), answer.text[:300]
    assert len(shown(answer.content)) == (2 if media != "image/png" and kind != "still" else 1)


def test_photos_and_clips_in_one_request_keep_their_formats(url: str) -> None:
    files = [clip("gif", scenes(2)), models.encode(scenes(1)[0]), clip("apng", scenes(3))]
    answer = post(url, *files, output="json").json()
    assert [(one["format"], one["frames"]) for one in answer["images"]] == [("gif", 2), ("png", 1), ("apng", 3)]
    packed = zipfile.ZipFile(io.BytesIO(post(url, *files, output="zip").content))
    assert packed.namelist() == ["000_0.gif", "001_1.png", "002_2.png"]


def test_strength_and_a_mask_hold_for_every_frame(url: str) -> None:
    frames = crossing(3)
    for fields in ({"strength": "0"}, {"allowed": models.encode(np.zeros((24, 40, 1), np.uint8))}):
        made = shown(post(url, clip("apng", frames), **fields).content)  # type: ignore[arg-type]
        for frame, photo in zip(made, frames, strict=True):
            np.testing.assert_array_equal(levels(frame), photo)
    assert "has not the size" in said(post(url, clip("gif", frames), allowed=models.encode(frames[0][:-1])))


def test_alpha_is_kept_in_every_frame(url: str) -> None:
    alphas = [np.roll(np.repeat([0, 255], 11).astype(np.uint8), 5 * index)[None].repeat(18, 0) for index in range(3)]
    frames = [np.dstack([scene, alpha]) for scene, alpha in zip(scenes(3), alphas, strict=True)]
    for kind in KINDS:
        made = shown(post(url, clip(kind, frames, disposal=2) if kind == "gif" else clip(kind, frames)).content)
        for frame, alpha in zip(made, alphas, strict=True):
            np.testing.assert_array_equal(np.asarray(frame.image.convert("RGBA"))[..., 3], alpha)


@pytest.mark.parametrize(("field", "value"), [("cycle", "true"), ("mask", "true")])
def test_what_only_a_photo_has_is_refused(url: str, field: str, value: str) -> None:
    answer = post(url, clip("gif", scenes(2)), output="json", **{field: value})
    assert answer.status_code == 400
    assert "attention" in said(answer) or "ask for format=png, which takes the first frame" in said(answer)


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(png):
        (size,) = struct.unpack_from(">I", png, at)
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def png_of(parts: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def outside(frames: Sequence[Pixels]) -> bytes:
    """An APNG whose picture for programs that show none that move, the first, is no frame."""
    return clip("apng", frames, default_image=True)


def grown() -> bytes:
    """A GIF whose second frame is as large as its screen, and lies a pixel to the right."""
    file = clip("gif", scenes(2))
    second = file.rindex(b",\0\0\0\0" + struct.pack("<HH", 22, 18))
    return file[: second + 1] + struct.pack("<H", 1) + file[second + 3 :]


def broken_in_the_middle() -> bytes:
    """An APNG whose second frame's pixels are no stream of zlib's."""
    parts = chunks(clip("apng", scenes(3)))
    first = next(index for index, (kind, _) in enumerate(parts) if kind == b"fdAT")
    parts[first] = (b"fdAT", parts[first][1][:4] + b"\xff" * (len(parts[first][1]) - 4))
    return png_of(parts)


def announced(frames: int) -> bytes:
    """An APNG of one pixel that says it has so many frames."""
    parts = chunks(clip("apng", scenes(2, 1, 1)))
    return png_of([(kind, struct.pack(">II", frames, 0) if kind == b"acTL" else data) for kind, data in parts])


@pytest.mark.parametrize(
    ("file", "status", "sentence"),
    [
        (announced(10_000), 413, "10,000 frames of 1 x 1"),
        (announced(10_000), 413, "submit a job, POST /v1/jobs/translate"),
        (announced(2**31), 413, "frames of 1 x 1"),
        (announced(3), 422, "Frame 3 of 0.clip is truncated or corrupt"),
        (grown(), 415, "Frame 2 of 0.clip is larger than the first"),
        (broken_in_the_middle(), 422, "Frame 2 of 0.clip is truncated or corrupt"),
        (clip("gif", scenes(3))[:-1], 422, "0.clip is truncated: its end is missing"),
        (b"a frame of no camera", 415, "0.clip is not an image of an accepted kind"),
        (clip("webp", scenes(3))[:-30], 422, "0.clip is truncated or corrupt"),
        (clip("apng", scenes(3))[:-40], 422, "Frame 3 of 0.clip is truncated or corrupt"),
    ],
    ids=[
        "10,000 frames",
        "the job",
        "2**31 frames",
        "fewer than said",
        "changing size",
        "a corrupt middle",
        "truncated gif",
        "no image",
        "truncated webp",
        "truncated apng",
    ],
)
def test_a_bad_clip_is_refused_with_a_sentence(url: str, file: bytes, status: int, sentence: str) -> None:
    answer = post(url, file)
    assert (answer.status_code, sentence in said(answer)) == (status, True), said(answer)


def test_a_picture_outside_of_the_animation_is_left_out(url: str) -> None:
    frames = scenes(4)
    made = shown(post(url, outside(frames)).content)
    alone = [post(url, models.encode(photo)).content for photo in frames[1:]]
    for frame, photo in zip(made, alone, strict=True):
        np.testing.assert_array_equal(levels(frame), np.asarray(Image.open(io.BytesIO(photo))))


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_one_pixel_that_last_no_time(url: str, kind: str) -> None:
    made = shown(post(url, clip(kind, scenes(3, 1, 1), 0)).content)
    assert [(frame.image.size, frame.duration_ms) for frame in made] == [((1, 1), 0)] * 3


def test_a_clip_as_a_job_tells_its_frames(local: Any, wait_until: Wait) -> None:
    sent = post(f"{local.url}/v1/jobs/translate", clip("gif", crossing(5)))
    job = f"{local.url}/v1/jobs/{sent.json()['id']}"
    wait_until(lambda: requests.get(job, timeout=30).json()["state"] in ("done", "failed"), "the job's end")
    progress = requests.get(job, timeout=30).json()["progress"]
    assert (progress["done"], progress["total"]) == (5, 5)
    result = requests.get(f"{job}/result", timeout=30)
    assert (result.headers["content-type"], len(shown(result.content))) == ("image/gif", 5)


def test_a_job_tells_of_a_corrupt_frame_before_it_begins(local: Any, wait_until: Wait) -> None:
    sent = post(f"{local.url}/v1/jobs/translate", broken_in_the_middle())
    job = f"{local.url}/v1/jobs/{sent.json()['id']}"
    wait_until(lambda: requests.get(job, timeout=30).json()["state"] in ("done", "failed"), "the job's end")
    assert requests.get(job, timeout=30).json()["progress"]["done"] == 0
    assert "Frame 2 of 0.clip" in said(requests.get(f"{job}/result", timeout=30))

"""Animations play at the pace that was asked for, and change no more than their frames do."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

import models
from models.origin import Origin
from service.encoding.animations import animate

ORIGIN = Origin("trainedAlgorithmicMedia", {})
NOISE = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)


def durations(data: bytes) -> list[int]:
    image = Image.open(io.BytesIO(data))
    found = []
    for index in range(image.n_frames):
        image.seek(index)
        image.load()
        found.append(round(image.info["duration"]))
    return found


@pytest.mark.parametrize("kind", ["gif", "webp", "apng"])
@pytest.mark.parametrize("frame_ms", [10, 20, 25, 33, 85, 99, 10_000])
def test_all_frames_together_last_what_was_asked(kind: Any, frame_ms: int) -> None:
    each = durations(animate(NOISE, kind, frame_ms, 90, ORIGIN))
    assert len(each) == len(NOISE)
    grid = 10 if kind == "gif" else 1
    assert abs(sum(each) - len(NOISE) * frame_ms) < grid
    assert all(abs(one - frame_ms) < grid for one in each)


@pytest.mark.parametrize("kind", ["gif", "webp", "apng"])
def test_equal_frames_are_frames_too_and_change_nothing(kind: Any) -> None:
    data = animate(NOISE[:1].repeat(3, axis=0), kind, 10_000, 90, ORIGIN)
    assert durations(data) == [10_000] * 3
    shown = [np.asarray(frame.image.convert("RGB")) for frame in models.frames(data, name="equal")]
    np.testing.assert_array_equal(shown, shown[:1] * 3)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_apng_loses_nothing(channels: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (4, 5, 7, channels), dtype=np.uint8)
    pixels[2, 1:3] = pixels[1, 1:3]
    shown = [frame.image for frame in models.frames(animate(pixels, "apng", 40, 90, ORIGIN), name="noise")]
    for image, frame in zip(shown, pixels, strict=True):
        expected = Image.fromarray(frame[..., 0] if channels == 1 else frame).convert("RGBA")
        np.testing.assert_array_equal(np.asarray(image.convert("RGBA")), np.asarray(expected))


def test_a_gif_of_few_colours_loses_nothing() -> None:
    pixels = np.random.default_rng(2).integers(0, 4, (5, 9, 8, 3), dtype=np.uint8) * 80
    shown = [
        np.asarray(frame.image.convert("RGB"))
        for frame in models.frames(animate(pixels, "gif", 40, 90, ORIGIN), name="few")
    ]
    np.testing.assert_array_equal(shown, pixels)

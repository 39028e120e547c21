"""Animations play at the pace that was asked for, and one picture of all has bounds."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.errors import InputError, LimitError
from models.origin import Origin
from service.encoding.pictures import animate, check_sheet

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


@pytest.mark.parametrize(
    ("kind", "equal", "lasts"), [("gif", 65, True), ("gif", 66, False), ("apng", 6, True), ("apng", 7, False)]
)
def test_equal_frames_that_become_one_that_is_too_long(kind: Any, equal: int, lasts: bool) -> None:
    frames = np.concatenate([NOISE[:1].repeat(equal, axis=0), NOISE[1:2]])
    if lasts:
        assert sum(durations(animate(frames, kind, 10_000, 90, ORIGIN))) == (equal + 1) * 10_000
    else:
        with pytest.raises(InputError, match="equal ones in a row"):
            animate(frames, kind, 10_000, 90, ORIGIN)


def test_one_picture_of_all_has_bounds() -> None:
    check_sheet("png", 5000, 10_000)
    with pytest.raises(LimitError, match=r"10,000 x 5,001 pixels.*ask for zip"):
        check_sheet("jpeg", 5001, 10_000)
    with pytest.raises(LimitError, match="WebP holds 16,383"):
        check_sheet("webp", 10, 16_384)

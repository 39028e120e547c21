"""Files that move: what they say of themselves, and their frames."""

import io
import threading
from typing import Any

import numpy as np
import pytest
from PIL import Image

import models
from models import decoding
from models.errors import LimitError

KINDS = {"gif": "GIF", "webp": "WEBP", "apng": "PNG"}
COLOURS = ("red", "lime", "blue")


def clip(kind: str, **options: Any) -> bytes:
    frames = [Image.new("RGB", (5, 4), colour) for colour in COLOURS]
    buffer = io.BytesIO()
    exact = {"lossless": True} if kind == "webp" else {}
    frames[0].save(buffer, KINDS[kind], save_all=True, append_images=frames[1:], **exact, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "loop", "plays"),
    [("gif", None, 1), ("gif", 0, 0), ("gif", 2, 3), ("webp", 0, 0), ("webp", 3, 3), ("apng", 0, 0), ("apng", 3, 3)],
)
def test_plays_are_counted_alike_whatever_the_format_counts(kind: str, loop: int | None, plays: int) -> None:
    with models.opened(clip(kind, **({} if loop is None else {"loop": loop}))) as file:
        assert models.motion(file) == models.Motion(kind, 3, plays)  # type: ignore[arg-type]


def test_one_picture_does_not_move() -> None:
    with models.opened(models.encode(np.zeros((4, 5, 3), np.uint8))) as file:
        assert models.motion(file) is None


@pytest.mark.parametrize("kind", KINDS)
def test_frames_stay_what_they_are_when_the_next_one_comes(kind: str) -> None:
    frames = list(models.frames(clip(kind, duration=[20, 0, 40]), name="clip"))
    assert [frame.duration_ms for frame in frames] == [20, 0, 40]
    shown = [frame.image.convert("RGB").getpixel((2, 2)) for frame in frames]
    assert shown == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def test_each_frame_may_be_asked_for_on_a_thread_of_its_own_that_has_worked_before() -> None:
    """Threads count the time that they work, each for itself."""
    frames, found = models.frames(clip("gif"), name="clip"), list[models.Frame]()

    def work() -> None:
        sum(range(3_000_000))
        found.append(next(frames))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "MAX_SECONDS", 0.02)
        for _ in COLOURS:
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    assert len(found) == len(COLOURS)


def test_a_clip_has_so_much_time_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_SECONDS", 0.0)
    with pytest.raises(LimitError, match="too many pieces"):
        list(models.frames(clip("gif"), name="clip"))

"""From a file of pictures that move to its frames, one at a time: GIF, animated WebP and APNG.

Pillow composes each frame over the ones before it, as its file says and browsers show it: offsets, transparency, and
what becomes of a frame when its time is over. The file is as hostile as a photo (decoding.py), and has the same time
for each of its pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageFile

from models.decoding import MAX_PIXELS, decoded, timed
from models.errors import BrokenImageError, GanError, ImageError

Animation = Literal["gif", "webp", "apng"]
Video = Literal["mp4", "webm"]

_KINDS: dict[str | None, Animation] = {"GIF": "gif", "WEBP": "webp", "PNG": "apng"}


@dataclass(frozen=True)
class Motion:
    """What a file of more than one frame says of them.

    Attributes:
        frames: how many.
        plays: how often all of them are shown; 0 is without end.
    """

    kind: Animation | Video
    frames: int
    plays: int


@dataclass(frozen=True)
class Frame:
    """One frame, in a mode of `plain`, and how long it is shown; 0 ms is as short as whoever shows it can."""

    image: Image.Image
    duration_ms: float


def motion(file: ImageFile.ImageFile) -> Motion | None:
    """Of a file that is opened; None where it holds one picture, or is of a kind that is not read as moving."""
    kind = _KINDS.get(file.format)
    if kind is None or (count := _count(file) - _first(file)) < 2:
        return None
    loop = file.info.get("loop")
    if kind == "gif":  # which counts how often it is shown again, and is shown once where it says nothing
        return Motion(kind, count, 1 if loop is None else loop + 1 if loop else 0)
    return Motion(kind, count, int(loop or 0))


def frames(source: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> Iterator[Frame]:
    """Decodes one frame after the other, on whichever threads ask for them; of a still, the one that there is.

    Raises what `opened` does, BrokenImageError naming the frame, and ImageError for a frame larger than the first.
    """
    with timed(source, name=name, max_pixels=max_pixels) as (file, clock):
        size, first, count = file.size, _first(file), _count(file)
        clock.give_for(size, count - first)
        data_at = 0
        for index in range(first, count):
            where = f"Frame {index - first + 1} of {name}"
            try:
                file.seek(index)
                if file.size != size:  # a GIF's frames may lie outside of its screen
                    raise ImageError(f"{where} is larger than the first: save it anew.", where=name)
                data_at = file.tile[0].offset if file.tile else 0
                image = decoded(file)  # which may be the file itself, that the next frame is drawn on
                frame = Frame(image.copy() if image is file else image, float(file.info.get("duration", 0)))
            except GanError:
                raise
            except Exception as error:  # as for a photo, whatever a decoder stumbles over is the file's fault
                raise BrokenImageError(f"{where} is truncated or corrupt: {str(error)[:200]}.", where=name) from error
            with clock.stopped():
                yield frame
        if file.format == "GIF" and count > 1 and not _ended(source, data_at):  # Pillow takes what came for all
            raise BrokenImageError(f"{name} is truncated: its end is missing.", where=name)


def _count(file: ImageFile.ImageFile) -> int:
    return int(getattr(file, "n_frames", 1))


def _ended(gif: bytes, at: int) -> bool:
    """Whether the trailer follows the last frame's data, which begins at `at`, and what extensions come after it."""
    while True:
        while at < len(gif) and gif[at]:  # blocks that say their length, up to one of none
            at += 1 + gif[at]
        while gif[at : at + 1] == b"\0":
            at += 1
        if gif[at : at + 1] != b"!":
            return gif[at : at + 1] == b";"
        at += 2


def _first(file: ImageFile.ImageFile) -> int:
    """An APNG may begin with a picture for programs that show none that move, which is none of its frames."""
    return 1 if getattr(file, "default_image", False) and _count(file) > 1 else 0

"""What a file that moves is made of, whatever its format."""

from dataclasses import dataclass
from typing import Protocol

from models.errors import LimitError
from models.images import Pixels
from models.origin import Origin

MOST_BYTES = 256 * 2**20
"""Of one file, which is held in memory until it ends."""


def check_bytes(count: int, advice: str) -> None:
    """Raises LimitError, which ends in the advice, for a file of more than MOST_BYTES."""
    if count > MOST_BYTES:
        raise LimitError(f"The answer would have more than {MOST_BYTES >> 20} MiB: {advice}.", where="format")


@dataclass(frozen=True)
class Look:
    """What all frames of a clip share.

    Attributes:
        frames: how many there will be.
        plays: how often all of them are shown; 0 is without end.
        quality: 1 to 100, of WebP.
        icc: colour profile to embed; GIF and videos have no place for one.
    """

    height: int
    width: int
    frames: int
    plays: int
    quality: int
    origin: Origin
    icc: bytes | None = None


class ClipWriter(Protocol):
    """Takes frames in order, uint8 [h, w, 1, 3 or 4], each with the milliseconds that it is shown."""

    def add(self, pixels: Pixels, duration_ms: float) -> None: ...

    def close(self) -> bytes:
        """The whole file, of at least one frame."""
        ...

"""Images that are decoded once, at their training size, by all cores and in order, wherever they are then kept."""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch

from models import GanError, LimitError
from models.images import Pixels

CHUNK = 256  # images decoded between two looks at how far it has come: 64 MB at 286 px
HASHED = 1 << 26  # bytes hashed at a time, so that of a mapped file no more needs to be in memory


@dataclass(frozen=True)
class Decoding:
    """What is to be decoded.

    Attributes:
        name: of the source, for errors.  labels: of its images; empty where they have no classes.
        one: image number i as uint8 [size, size, channels]; raises GanError or OSError where it does not decode.
    """

    name: str
    count: int
    size: int
    channels: int
    one: Callable[[int], Pixels]
    labels: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of all images, were none broken."""
        return self.count, self.size, self.size, self.channels

    @property
    def nbytes(self) -> int:
        """Bytes of all images, were none broken."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Decoded:
    """Images that came of it.

    Attributes:
        pixels: uint8 [n, size, size, channels], in order.
        faults: why an image did not decode, by its number.
        digest: of images that a file holds (`Dataset.digest`), without and with their labels; None: not known yet.
    """

    pixels: torch.Tensor
    faults: dict[int, str] = field(default_factory=dict)
    digest: str | None = None
    labelled_digest: str | None = None


def in_memory(decoding: Decoding) -> Decoded:
    """Decodes into memory.

    Raises:
        LimitError: this machine has less memory than the images take.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if decoding.nbytes > memory:
        raise LimitError(
            f"The {decoding.count:,} images of {decoding.name} take {decoding.nbytes / 1e9:,.0f} GB at their training "
            f"size, and this machine has {memory / 1e9:,.0f} GB of memory: --packed FOLDER keeps them in a file there.",
            where="data",
        )
    rows, faults = np.empty(decoding.shape, np.uint8), dict[int, str]()
    for _ in fill(rows, decoding, faults):
        pass
    return Decoded(torch.from_numpy(rows[: decoding.count - len(faults)]), faults)


def fill(rows: Pixels, decoding: Decoding, faults: dict[int, str], begin: int = 0) -> Iterator[int]:
    """Decodes images from number `begin` on, and yields now and then how many have been tried.

    Args:
        rows: uint8 [count, size, size, channels]; the k-th image that decodes comes into row k.
        faults: of the images before `begin`; those of the others are added.
    """

    def tried(number: int) -> Pixels | str:
        try:
            return decoding.one(number)
        except (GanError, OSError) as error:
            return str(error)

    with ThreadPoolExecutor() as pool:  # Pillow decodes without holding the interpreter
        for start in range(begin, decoding.count, CHUNK):
            numbers = range(start, min(start + CHUNK, decoding.count))
            for number, result in zip(numbers, pool.map(tried, numbers), strict=True):
                if isinstance(result, str):
                    faults[number] = result
                else:
                    rows[number - len(faults)] = result
            yield numbers.stop


def digests_of(pixels: torch.Tensor, labels: torch.Tensor | None) -> tuple[str, str | None]:
    """SHA-256 over shape and pixels, and over these and labels (None where there are none)."""
    sha = hashlib.sha256(repr(tuple(pixels.shape)).encode())
    for some in pixels.flatten().split(HASHED):
        sha.update(some.numpy().data)
    alone = sha.hexdigest()
    if labels is None:
        return alone, None
    sha.update(labels.numpy().data)
    return alone, sha.hexdigest()

"""Images in an `.npz`, as much code keeps its samples: one array, uint8 [n, h, w, c], read image by image.

The array is `arr_0`, the name that numpy gives by itself and the evaluation of Dhariwal and Nichol (2021) asks for, or
`images`, as POST /v1/sample names it. An archive that holds statistics too is taken as these.
"""

import io
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from metrics.sets.npz import UNREADABLE
from models import InputError

_NAMES = ("arr_0", "images")


@dataclass(frozen=True)
class Stored:
    """An array of images in an archive, at a path or in memory.

    name: for errors.  member: of the archive.  shape: [n, h, w, c], c = 1, 3 or 4.  size: bytes, unpacked.
    """

    source: Path | bytes
    name: str
    member: str
    shape: tuple[int, ...]
    size: int

    def rows(self) -> Iterator[np.ndarray]:
        """The images, uint8 [h, w, c], unpacked one by one. Raises InputError where the archive is damaged."""
        count, *shape = self.shape
        size = math.prod(shape)
        try:
            with _opened(self.source) as archive, archive.open(self.member) as stream:
                _header(stream)
                for _ in range(count):
                    yield np.frombuffer(stream.read(size), np.uint8).reshape(shape)  # ValueError where it ends before
        except UNREADABLE as error:
            raise _damaged(self.name, error) from error


def stored_images(source: Path | bytes, name: str) -> Stored | None:
    """What array of images an archive holds; None where there is none, or statistics, or it is no archive at all.

    Args:
        source: the archive's path, or its bytes.  name: what to call it in an error.
    Raises:
        InputError: the array is damaged, or not one of images.
    """
    try:
        archive = _opened(source)
    except UNREADABLE:
        return None
    with archive:
        members = {info.filename: info for info in archive.infolist()}
        found = next((f"{one}.npy" for one in _NAMES if f"{one}.npy" in members), None)
        if found is None or {"mu.npy", "sigma.npy"} <= set(members):
            return None
        try:
            with archive.open(found) as stream:
                shape, fortran, dtype = _header(stream)
        except UNREADABLE as error:
            raise _damaged(name, error) from error
        size = members[found].file_size
    array = found.removesuffix(".npy")
    whole = (*shape, 1) if len(shape) == 3 else shape
    if dtype != np.uint8 or fortran or len(whole) != 4 or whole[3] not in (1, 3, 4) or min(whole) < 1:
        order = " in Fortran's order" if fortran else ""
        raise InputError(
            f"{array} in {name} is {dtype} {list(shape)}{order}, and images are uint8 [n, h, w, 3] (or 1 or 4 "
            "channels) in C's order.",
            where=name,
        )
    return Stored(source, name, found, whole, size)


def _damaged(name: str, error: Exception) -> InputError:
    said = str(error).partition("\n")[0][:100] or type(error).__name__  # numpy quotes headers, and gives advice below
    return InputError(f"{name} is damaged: {said}.", where=name)


def _opened(source: Path | bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, whether in Fortran's order, type); the array follows."""
    if np.lib.format.read_magic(stream) != (1, 0):  # later ones are for headers of more than 64 KiB
        raise ValueError("its array has a longer header than images need")
    return np.lib.format.read_array_header_1_0(stream)

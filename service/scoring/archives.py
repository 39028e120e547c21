"""Images out of an uploaded zip or tar, without trusting it.

Nothing is unpacked to the disk: members are read one at a time, in memory, under limits that hold for what the
archive really expands to, not for what its headers say. Refused, each with a sentence:

    more members or bytes than the limits, a ratio that only bombs reach           LimitError
    links and devices, absolute paths, `..`, encrypted members, nested archives    InputError
    a damaged archive                                                              InputError

A member counts as an image by its suffix, as a file in a folder does for pytorch-fid; labels and readmes beside the
images are passed over. xz and zip's LZMA are not read, since their headers may demand gigabytes of memory.
"""

import bz2
import gzip
import io
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from models.errors import InputError, LimitError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm"})
_ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz", ".xz", ".7z", ".rar", ".zst"})
_ZIP_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2})
_ZIP_ENTRY = b"PK\x01\x02"
_RATIO_FLOOR = 16 * 2**20  # bytes; a few flat bitmaps may well shrink a thousandfold

Kind = Literal["zip", "tar", "tar.gz", "tar.bz2"]
_Stream = io.BytesIO | gzip.GzipFile | bz2.BZ2File


@dataclass(frozen=True)
class Limits:
    """`files` images and `others` (folders, labels) in an archive, `expanded_bytes` and `ratio` of all that it unpacks
    to."""

    files: int = 10_000
    others: int = 1000
    expanded_bytes: int = 512 * 2**20
    ratio: float = 200.0


def kind_of(data: bytes) -> Kind | None:
    """What kind of archive the bytes begin like, or None. The content decides, never a file's name."""
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    if data[:2] == b"\x1f\x8b":
        return "tar.gz"
    if data[:3] == b"BZh":
        return "tar.bz2"
    return "tar" if data[257:262] == b"ustar" else None


def images(data: bytes, limits: Limits, where: str) -> Iterator[tuple[str, bytes]]:
    """Yields (name, bytes) of each image, in the archive's order.

    Args:
        data: the whole archive, of a kind that `kind_of` knows.
        where: what to call the archive in an error.
    Raises:
        LimitError, InputError: as the table above says; at the first member at fault.
    """
    kind = kind_of(data)
    members = _zip(data, limits, where) if kind == "zip" else _tar(data, kind, limits, where)
    try:
        yield from members
    except (InputError, MemoryError):
        raise
    except Exception as error:  # whatever the unpackers stumble over is the archive's fault
        raise InputError(f"{where} is a damaged archive: {error}.", where=where) from error


def names(data: bytes, limits: Limits, where: str) -> list[str]:
    """The images' names; the archive is checked and unpacked on the way. Raises as `images` does."""
    return [name for name, _ in images(data, limits, where)]


def _zip(data: bytes, limits: Limits, where: str) -> Iterator[tuple[str, bytes]]:
    # zipfile makes an object of each entry before it can be asked how many there are, so entries are counted first.
    _check_entries(data.count(_ZIP_ENTRY), limits, where)
    total = 0
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        _check_size(sum(info.file_size for info in infos), len(data), limits, where)
        wanted = [info for info in infos if _wanted(info.filename, where) and not info.is_dir()]
        _check_count(len(wanted), limits, where)
        for info in infos:
            if stat.S_ISLNK(info.external_attr >> 16):
                raise InputError(f"{where}: {info.filename!r} is a link; archives may hold plain files.", where=where)
            if info.flag_bits & 0x1:
                raise InputError(
                    f"{where}: {info.filename!r} is encrypted; send the archive without a password.", where=where
                )
            if info.compress_type not in _ZIP_METHODS:
                raise InputError(f"{where}: {info.filename!r} is packed with a method other than deflate.", where=where)
        for info in wanted:
            with archive.open(info) as file:
                content = file.read(limits.expanded_bytes + 1 - total)
            total += len(content)
            _check_size(total, len(data), limits, where)
            yield info.filename, content


def _tar(data: bytes, kind: Kind | None, limits: Limits, where: str) -> Iterator[tuple[str, bytes]]:
    count = 0
    # Stream mode: one pass, nothing kept, and every byte that tarfile reads goes through the bound.
    with tarfile.open(fileobj=_Bounded(_unpacked(data, kind), len(data), limits, where), mode="r|") as archive:
        for index, member in enumerate(archive):
            _check_entries(index + 1, limits, where)
            # A sparse member is a few bytes that claim any number of zeros between them.
            if not (member.isfile() or member.isdir()) or member.issparse():
                raise InputError(
                    f"{where}: {member.name!r} is a link, a device or sparse; archives may hold plain files.",
                    where=where,
                )
            file = archive.extractfile(member) if _wanted(member.name, where) and member.isfile() else None
            if file is not None:
                count += 1
                _check_count(count, limits, where)
                yield member.name, file.read()


def _unpacked(data: bytes, kind: Kind | None) -> _Stream:
    raw = io.BytesIO(data)
    if kind == "tar.gz":
        return gzip.GzipFile(fileobj=raw)
    return bz2.BZ2File(raw) if kind == "tar.bz2" else raw


class _Bounded(io.RawIOBase):
    """A stream that stops with LimitError at the limit: headers, padding and skipped members count too."""

    def __init__(self, stream: _Stream, packed: int, limits: Limits, where: str) -> None:
        self._stream = stream
        self._packed = packed
        self._limits = limits
        self._where = where
        self._total = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._total += len(data)
        _check_size(self._total, self._packed, self._limits, self._where)
        return data


def _wanted(name: str, where: str) -> bool:
    """Whether the member is an image; raises for names that no honest archive of images has."""
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or re.match(r"[A-Za-z]:", name) or ".." in parts:
        raise InputError(
            f"{where}: {name[:200]!r} points outside the archive; names must be relative and without '..'.",
            where=where,
        )
    suffix = PurePosixPath(parts[-1]).suffix.lower()
    if suffix in _ARCHIVES:
        raise InputError(f"{where}: {name[:200]!r} is an archive inside the archive; unpack it first.", where=where)
    hidden = "__MACOSX" in parts or parts[-1].startswith(".")  # what file managers leave behind
    return suffix in SUFFIXES and not hidden


def _check_entries(count: int, limits: Limits, where: str) -> None:
    if count > limits.files + limits.others:
        raise LimitError(f"{where} has too many members; at most {limits.files:,} images are accepted.", where=where)


def _check_count(count: int, limits: Limits, where: str) -> None:
    if count > limits.files:
        raise LimitError(f"{where} has more than {limits.files:,} images, the most accepted.", where=where)


def _check_size(expanded: int, packed: int, limits: Limits, where: str) -> None:
    if expanded > limits.expanded_bytes:
        raise LimitError(
            f"{where} unpacks to more than {limits.expanded_bytes / 2**20:,.0f} MiB, the most accepted.", where=where
        )
    if expanded > _RATIO_FLOOR and expanded > limits.ratio * packed:
        raise LimitError(
            f"{where} unpacks to more than {limits.ratio:,.0f} times its size, as archive bombs do.", where=where
        )

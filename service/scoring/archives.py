"""Images out of an uploaded zip or tar, without trusting it.

Which members are images is the rule of `models.filesets`, by which training and metrics read archives, too; here come
limits, and what only a stranger's archive would hold. No member is unpacked under its name: those of a zip are read in
memory, those of a tar are ranges of its bytes, and a compressed tar is unpacked as a whole into a temporary file
without a name. Refused, each with a sentence:

    more members or bytes than the limits, a ratio that only bombs reach           LimitError
    links and devices, absolute paths, `..`, encrypted members, nested archives    InputError
    a damaged archive, packings other than deflate, gzip and bzip2                 InputError

xz and LZMA are not read, since their headers may demand gigabytes of memory.
"""

import bz2
import gzip
import io
import re
import tempfile
import threading
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from models import filesets, legible
from models.errors import GanError, InputError, LimitError, OverloadError

_NESTED = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz", ".xz", ".7z", ".rar", ".zst"})
_UNPACKERS: dict[str, Callable[..., IO[Any]]] = {"gzip": gzip.open, "bzip2": bz2.open}
_ZIP_ENTRY = b"PK\x01\x02"
_ZIP_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2})
_RATIO_FLOOR = 16 * 2**20  # bytes; a few flat bitmaps may well shrink a thousandfold
_TAR_HEADERS = 4096  # bytes of a member's headers, of which 512 to 2,048 are usual
_FULL_RETRY_S = 60.0


@dataclass(frozen=True)
class Limits:
    """`files` images and `others` (folders, labels) in an archive, `expanded_bytes` and `ratio` of all that it unpacks
    to."""

    files: int = 10_000
    others: int = 1000
    expanded_bytes: int = 512 * 2**20
    ratio: float = 200.0

    @property
    def entries(self) -> int:
        """Members of any kind."""
        return self.files + self.others


def open_archive(data: bytes, limits: Limits, where: str) -> filesets.FileSet:
    """The archive's files, read from the bytes whenever they are asked for.

    Args:
        data: the whole archive, of some packing that `filesets.packing_of` knows.
        where: what to call the archive in an error.
    Raises:
        LimitError, InputError: as the table above says. What is damaged inside a member is said when that is read.
        OverloadError: no room to unpack a compressed tar.
    """
    packing = filesets.packing_of(data[: filesets.HEAD])
    with _legible(where):
        if packing == "zip":
            found = _zip(data, limits, where)
        elif packing == "tar" or packing in _UNPACKERS:
            found = _tar(data, packing, limits, where)
        else:
            raise InputError(
                f"{where} is packed with {packing}: send a zip, or a tar, plain or packed with gzip or bzip2.",
                where=where,
            )
        if len(found.images) > limits.files:
            raise LimitError(f"{where} has more than {limits.files:,} images, the most accepted.", where=where)
    return found


def check_zip_entries(data: bytes, limits: Limits, where: str) -> None:
    """Raises LimitError for a zip of too many entries, before zipfile makes an object of each."""
    _check_entries(data.count(_ZIP_ENTRY), limits, where)


def _zip(data: bytes, limits: Limits, where: str) -> filesets.FileSet:
    check_zip_entries(data, limits, where)
    archive = zipfile.ZipFile(io.BytesIO(data))
    infos = archive.infolist()
    # Reading a member ends at the size that it claims, whatever it unpacks to.
    check_size(sum(info.file_size for info in infos), len(data), limits, where)
    members = {}
    for info in infos:
        _check_name(info.filename, where)
        name = filesets.name_of(info)
        if filesets.is_link(info):
            raise InputError(f"{where}: {name!r} is a link; archives may hold plain files.", where=where)
        if why := filesets.unreadable(info, _ZIP_METHODS):
            raise InputError(f"{where}: {name!r} {why}.", where=where)
        if not info.is_dir():
            members[name] = info
    lock = threading.Lock()

    def read(name: str, most: int = -1) -> bytes:
        with _legible(where, name), lock, archive.open(members[name]) as file:
            return file.read(most)

    return _visible(members, read, where)


def _tar(data: bytes, packing: str, limits: Limits, where: str) -> filesets.FileSet:
    if packing == "tar":
        check_size(len(data), len(data), limits, where)
        plain: IO[bytes] = io.BytesIO(data)
        part: Callable[[int, int], bytes] = lambda start, size: data[start : start + size]  # noqa: E731
    else:
        span = _unpacked(data, packing, limits, where)
        plain, part = span.file, span.read
    members = {}
    for index, member in enumerate(filesets.members_of(_Headers(plain, limits, where))):
        _check_entries(index + 1, limits, where)
        _check_name(member.name, where)
        name = filesets.member_name(member.name)
        # A sparse member is a few bytes that claim any number of zeros between them.
        if not (member.isfile() or member.isdir()) or member.issparse():
            raise InputError(
                f"{where}: {legible(name)!r} is a link, a device or sparse; archives may hold plain files.",
                where=where,
            )
        if member.isfile():
            members[name] = member.offset_data, member.size

    def read(name: str, most: int = -1) -> bytes:
        start, size = members[name]
        return part(start, size if most < 0 else min(most, size))

    return _visible(members, read, where)


def _unpacked(data: bytes, packing: str, limits: Limits, where: str) -> filesets.Span:
    """The tar inside, in a temporary file that is gone with the last who reads from it."""
    try:
        whole = filesets.Span(tempfile.TemporaryFile())  # noqa: SIM115  Span closes it
        total = 0
        with _UNPACKERS[packing](io.BytesIO(data)) as packed:
            while piece := packed.read(2**20):
                total += len(piece)
                check_size(total, len(data), limits, where)
                whole.file.write(piece)
        whole.file.flush()
    except OSError as error:
        if error.errno is None:  # of the archive; the disk's errors have numbers
            raise
        raise OverloadError(
            f"There is no room to unpack {where}: {error.strerror}.", retry_after_s=_FULL_RETRY_S
        ) from error
    return whole


class _Headers:
    """What tarfile reads of a tar as it lists it: members' headers, whose claims could fill the memory."""

    def __init__(self, file: IO[bytes], limits: Limits, where: str) -> None:
        self._file = file
        self._left = _TAR_HEADERS * limits.entries
        self._where = where

    def read(self, size: int = -1) -> bytes:
        self._left -= size
        if size < 0 or self._left < 0:
            raise LimitError(f"{self._where} has longer headers than members have.", where=self._where)
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _visible(members: Collection[str], read: filesets.Read, where: str) -> filesets.FileSet:
    names = tuple(sorted(name for name in members if not filesets.is_hidden(name)))
    if nested := next((name for name in names if filesets.ending(name) in _NESTED), None):
        raise InputError(
            f"{where}: {legible(nested[:200])!r} is an archive inside the archive; unpack it first.",
            where=where,
        )
    return filesets.FileSet(where, names, (), read)


def _check_name(name: str, where: str) -> None:
    """Raises InputError for names that no honest archive of images has."""
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or re.match(r"[A-Za-z]:", name) or ".." in parts:
        raise InputError(
            f"{where}: {legible(name[:200])!r} points outside the archive; names must be relative and without '..'.",
            where=where,
        )


def _check_entries(count: int, limits: Limits, where: str) -> None:
    if count > limits.entries:
        raise LimitError(f"{where} has too many members; at most {limits.files:,} images are accepted.", where=where)


def check_size(expanded: int, packed: int, limits: Limits, where: str) -> None:
    """Raises LimitError for `packed` bytes that become `expanded`."""
    if expanded > limits.expanded_bytes:
        raise LimitError(
            f"{where} unpacks to more than {limits.expanded_bytes / 2**20:,.0f} MiB, the most accepted.", where=where
        )
    if expanded > _RATIO_FLOOR and expanded > limits.ratio * packed:
        raise LimitError(
            f"{where} unpacks to more than {limits.ratio:,.0f} times its size, as archive bombs do.", where=where
        )


@contextmanager
def _legible(where: str, name: str = "") -> Iterator[None]:
    """Whatever the unpackers stumble over is the archive's fault."""
    try:
        yield
    except (GanError, MemoryError):
        raise
    except Exception as error:
        at = f", at {name}" if name else ""
        raise InputError(f"{where} is a damaged archive{at}: {error or type(error).__name__}.", where=where) from error

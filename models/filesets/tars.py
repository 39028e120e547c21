"""The files of a tar, plain or compressed; links inside it are followed.

A member of a plain tar is a range of its bytes. A compressed tar can only be read front to back, so it is unpacked
once, as a whole, into a temporary file without a name; members are never unpacked one by one under theirs.
"""

import bz2
import gzip
import lzma
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol, cast

from models.errors import InputError
from models.filesets.fileset import FileSet, member_name
from models.filesets.members import arrange, check_size, target_of, unpacking
from models.strict_json import legible

UNPACKERS: dict[str, Callable[..., IO[Any]]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}


class Seekable(Protocol):
    """As much of a file as tarfile needs to list a tar."""

    def read(self, size: int = ..., /) -> bytes: ...
    def seek(self, offset: int, whence: int = ..., /) -> int: ...
    def tell(self) -> int: ...


class Span:
    """A file read at any place from any thread, and closed when nothing refers to it any more."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def read(self, start: int, size: int) -> bytes:
        """Those bytes; fewer at the end of the file."""
        return os.pread(self.file.fileno(), size, start)

    def __del__(self) -> None:
        self.file.close()


def open_tar(path: Path, packing: str) -> FileSet:
    """Lists a tar; `packing` is "tar", or how it is compressed ("gzip", "bzip2", "xz").

    Raises:
        InputError: damaged, no tar inside, an image that is no plain file, or a link to what the tar does not hold.
    """
    said = legible(path.name)
    with unpacking(said):
        span = _opened(path, packing)
        members = {member_name(member.name): member for member in members_of(span.file)}  # the last of equal names
    folders = {name for name, member in members.items() if member.isdir()}
    links = {
        name: target_of(name, member.linkname) if member.issym() else member_name(member.linkname)
        for name, member in members.items()
        if member.issym() or member.islnk()
    }
    layout = arrange(said, members.keys() - folders - links.keys(), folders, links)

    def read(name: str, most: int = -1) -> bytes:
        member = members[layout.places[name]]
        if not member.isreg() or member.issparse():
            what = "sparse" if member.issparse() else "a pipe or a device"
            raise InputError(f"{legible(name)} in {said} is {what}, not a plain file.", where=legible(name))
        check_size(name, member.size)
        return span.read(member.offset_data, member.size if most < 0 else min(most, member.size))

    return FileSet(said, layout.names, layout.folders, read)


def members_of(file: Seekable) -> Iterator[tarfile.TarInfo]:
    """The members of a plain tar, each with its place.

    Raises:
        tarfile.TarError: no tar, or damaged on the way, where tarfile alone would take it for the end.
    """
    file.seek(0)
    with tarfile.open(fileobj=cast(IO[bytes], file), mode="r:") as archive:
        yield from archive
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError(f"no header of a member at byte {archive.offset:,}")


def _opened(path: Path, packing: str) -> Span:
    if packing == "tar":
        return Span(open(path, "rb"))
    try:
        whole = Span(tempfile.TemporaryFile())  # noqa: SIM115  likewise
        with UNPACKERS[packing](path) as packed:
            shutil.copyfileobj(packed, whole.file, 2**20)
        whole.file.flush()
    except OSError as error:
        if error.errno is None:  # of the archive; the disk's errors have numbers
            raise
        raise InputError(
            f"{legible(path.name)} cannot be unpacked into {tempfile.gettempdir()}: {error.strerror}. Unpack it "
            "yourself, or name a folder with more room in TMPDIR.",
            where=legible(path.name),
        ) from error
    return whole

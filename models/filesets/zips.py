"""The files of a .zip, read in place."""

import stat
import threading
import zipfile
from collections.abc import Collection
from pathlib import Path

from models.errors import InputError
from models.filesets.fileset import FileSet, member_name
from models.filesets.members import arrange, check_size, target_of, unpacking
from models.strict_json import legible

_METHODS = {9: "deflate64", 14: "LZMA", 93: "Zstandard", 95: "xz", 98: "PPMd"}
_READ = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_UTF8 = 0x800  # flag of a member whose name is said to be UTF-8


def open_zip(path: Path) -> FileSet:
    """Lists a .zip.

    Raises:
        InputError: damaged, or a member that is encrypted, packed by a method that is not read here, or a link to
            what the archive does not hold.
    """
    said = legible(path.name)
    with unpacking(said):
        archive = zipfile.ZipFile(path)
        members = {name_of(info): info for info in archive.infolist()}  # of equal names the last, as unzip leaves it
        links = {name: target_of(name, archive.read(info).decode()) for name, info in members.items() if is_link(info)}
    folders = {name for name, info in members.items() if info.is_dir()}
    layout = arrange(said, members.keys() - folders - links.keys(), folders, links)
    for name, place in layout.places.items():
        if why := unreadable(members[place], _READ):
            raise InputError(f"{name} in {said} {why}.", where=name)
    lock = threading.Lock()

    def read(name: str, most: int = -1) -> bytes:
        info = members[layout.places[name]]
        check_size(name, info.file_size)
        with unpacking(said, name), lock, archive.open(info) as file:
            return file.read(most)

    return FileSet(said, layout.names, layout.folders, read)


def unreadable(info: zipfile.ZipInfo, methods: Collection[int]) -> str | None:
    """Why a member cannot be read by one of the methods, in words that follow its name; None where it can."""
    if info.flag_bits & 0x1:
        return "is encrypted: pack it without a password"
    if info.compress_type not in methods:
        method = _METHODS.get(info.compress_type, f"zip's method {info.compress_type}")
        return f"is packed with {method}, which is not read here: pack it with deflate, the usual one"
    return None


def is_link(info: zipfile.ZipInfo) -> bool:
    """Whether the member is a symbolic link of Unix; its content is the target."""
    return stat.S_ISLNK(info.external_attr >> 16)


def name_of(info: zipfile.ZipInfo) -> str:
    """The member's relative name. Many tools write UTF-8 without saying so, and zipfile takes that for cp437."""
    name = info.filename
    if not info.flag_bits & _UTF8:
        try:
            name = name.encode("cp437").decode()
        except UnicodeError:  # it was cp437, or some other page that nobody can tell
            name = info.filename
    return member_name(name)

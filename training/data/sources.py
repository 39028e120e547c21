"""Where files are read from: a folder, or a .zip read in place. Both are a list of names and a way to read one."""

import os
import threading
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from models import InputError


class Source(Protocol):
    """Files under one root, by sorted relative POSIX names; `folders` names all folders, empty ones too."""

    @property
    def name(self) -> str: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def folders(self) -> tuple[str, ...]: ...
    def read(self, name: str) -> bytes: ...


@dataclass(frozen=True)
class FolderSource:
    """Files below a folder."""

    root: Path
    name: str
    names: tuple[str, ...]
    folders: tuple[str, ...]

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()


@dataclass(frozen=True)
class ZipSource:
    """Members of a .zip, read without unpacking. Safe to read from several threads."""

    archive: zipfile.ZipFile
    prefix: str
    name: str
    names: tuple[str, ...]
    folders: tuple[str, ...]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, name: str) -> bytes:
        try:
            with self._lock:
                return self.archive.read(self.prefix + name)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
            raise InputError(f"{name} cannot be read out of the archive: {error}", where="data") from error


def open_source(path: str | Path) -> Source:
    """Opens a folder or a .zip. Hidden files and folders are left out (.DS_Store, __MACOSX, .git).

    Raises:
        InputError: no such folder or file, not a .zip, or nothing inside.
    """
    path = Path(path)
    if path.is_dir():
        source = _folder(path)
    elif path.is_file():
        source = _zip(path)
    else:
        raise InputError(f"--data {path}: there is no such folder or file.", where="data")
    if not source.names:
        raise InputError(f"--data {path} is empty: it holds no files.", where="data")
    return source


def _folder(root: Path) -> Source:
    names: list[str] = []
    folders: list[str] = []
    for place, inside, files in os.walk(root, followlinks=True):  # links too: data sets often lie on another disk
        here = Path(place)
        real = here.resolve()
        # but no link to a folder that it stands in, which would go round for ever
        inside[:] = [n for n in inside if not _hidden(n) and not real.is_relative_to((here / n).resolve())]
        below = here.relative_to(root)
        folders += [(below / name).as_posix() for name in inside]
        names += [(below / name).as_posix() for name in files if not _hidden(name)]
    return FolderSource(root, _name_of(root), tuple(sorted(names)), tuple(sorted(folders)))


def _zip(path: Path) -> Source:
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise InputError(f"--data {path} is neither a folder nor a .zip archive.", where="data") from error
    members = [info for info in archive.infolist() if not _hidden(info.filename)]
    files = [info.filename for info in members if not info.is_dir()]
    prefix = _common_folder(files)
    names = sorted(name.removeprefix(prefix) for name in files)
    parents = {parent.as_posix() for name in names for parent in Path(name).parents} - {"."}
    listed = {info.filename.removeprefix(prefix).rstrip("/") for info in members if info.is_dir()} - {""}
    inside = {name for name in listed if not prefix.startswith(name + "/")}
    return ZipSource(archive, prefix, path.stem, tuple(names), tuple(sorted(parents | inside)))


def _common_folder(files: list[str]) -> str:
    """Archives are often made around a folder: horse2zebra/trainA/... is read as trainA/..."""
    tops = {name.split("/")[0] for name in files}
    lone = len(tops) == 1 and all("/" in name for name in files)
    # a lone class folder would lose its name, but one class is no class either way
    return tops.pop() + "/" if lone else ""


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.rstrip("/").split("/"))


def _name_of(root: Path) -> str:
    """The folder's name; of a split, such as cifar10/train, the data set's."""
    path = root.resolve()
    return path.parent.name if path.name in ("train", "test") else path.name

"""The files below a folder. Links are followed, to files and to folders, since data sets often lie on another disk."""

import os
import stat
from functools import partial
from pathlib import Path

from models.errors import InputError
from models.filesets.fileset import FileSet, is_hidden
from models.strict_json import legible


def open_folder(root: Path) -> FileSet:
    """Lists a folder through all its subfolders.

    Raises:
        InputError: a folder on the way that cannot be read. A link to nowhere is listed, and said when it is read.
    """
    names: list[str] = []
    folders: list[str] = []
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while waiting:
        here, above = waiting.pop()
        try:
            found = os.stat(root / here)
            way = above | {(found.st_dev, found.st_ino)}
            with os.scandir(root / here) as entries:
                for entry in entries:
                    if is_hidden(entry.name):
                        continue
                    name = f"{here}/{entry.name}" if here else entry.name
                    if not entry.is_dir():
                        names.append(name)
                    elif _identity(entry) not in way:  # a link to a folder that it stands in would go round for ever
                        folders.append(name)
                        waiting.append((name, way))
        except OSError as error:
            at = legible(str(root / here))
            raise InputError(f"The folder {at} cannot be read: {error.strerror}.", where=at) from error
    return FileSet(legible(str(root)), tuple(sorted(names)), tuple(sorted(folders)), partial(_read, root))


def _identity(entry: os.DirEntry[str]) -> tuple[int, int]:
    found = entry.stat()
    return found.st_dev, found.st_ino


def _read(root: Path, name: str, most: int = -1) -> bytes:
    path = root / name
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # asked first: to open a pipe waits for its writer
            raise InputError(f"{legible(name)} is a pipe, a socket or a device, not a file.", where=legible(name))
        with open(path, "rb") as file:
            return file.read(most)
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
        if path.is_symlink() and not path.exists():
            why = f"is a link to {legible(os.readlink(path))}, which is not there"
        raise InputError(f"{legible(name)} {why}.", where=legible(name)) from error

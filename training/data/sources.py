"""Where training images are read from: the set of files that metrics would score, without folders packed around it."""

import dataclasses
from pathlib import Path

from models import InputError, NotFoundError, filesets, legible

_PARTS = frozenset({"train", "test", "trainA", "trainB", "testA", "testB"})  # folders that mean something alone too


def open_source(path: str | Path) -> filesets.FileSet:
    """Opens a folder, a .zip or a .tar for training, under the data set's name.

    Data sets often lie in one folder more: horse2zebra.zip with horse2zebra/trainA/... is read as trainA/...

    Raises:
        InputError: no such folder or file, no archive, or nothing inside.
    """
    path = Path(path)
    said = f"--data {legible(str(path))}"
    try:
        files = filesets.open_files(path)
    except NotFoundError as error:
        raise InputError(f"{said}: there is no such folder or file.", where="data") from error
    except InputError as error:
        raise InputError(f"{said}: {error.message}", where="data") from error
    if not files.names:
        raise InputError(f"{said} is empty: it holds no files.", where="data")
    return dataclasses.replace(_unwrapped(files), name=_name_of(path))


def _unwrapped(files: filesets.FileSet) -> filesets.FileSet:
    """Without a folder that holds everything. A lone class loses its name so, but one class is no class anyway."""
    tops = {name.split("/")[0] for name in (*files.names, *files.folders)}
    if len(tops) > 1 or tops <= _PARTS or any("/" not in name for name in files.names):
        return files
    around = tops.pop() + "/"
    return _unwrapped(
        filesets.FileSet(
            files.name,
            tuple(name.removeprefix(around) for name in files.names),
            tuple(name.removeprefix(around) for name in files.folders if name.startswith(around)),
            lambda name, most=-1: files.read(around + name, most),
        )
    )


def _name_of(path: Path) -> str:
    """The folder's or archive's name; of a split, such as cifar10/train, the data set's."""
    if path.is_file():
        return legible(path.stem)
    root = path.resolve()
    return legible(root.parent.name if root.name in ("train", "test") else root.name)

"""Files that other programs read: written whole or not at all.

A reader never sees half a file: the bytes go to a temporary file in the same folder, are synced to the disk, and
then take the final name in one rename. A crash at any moment leaves the old file or the new one.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_FILE_MODE = 0o666 & ~_umask()  # read once: changing the umask, even for a moment, is not thread-safe


@contextlib.contextmanager
def atomic_path(path: str | Path, *, new: bool = False) -> Iterator[Path]:
    """Gives a temporary path beside `path`; on a clean exit it is synced and renamed to `path`.

    Args:
        path: the final file; its folder must exist.
        new: `path` must not exist either; of several writers at once, one succeeds.
    Raises:
        FileExistsError: `new`, and it exists.
        OSError: the folder is missing, read-only or full. The temporary file is removed then, and on any
            exception from the body.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, _FILE_MODE)  # mkstemp makes private files; ours are meant to be read
        if new:
            os.link(temporary, path)
        else:
            os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """The rename itself lives in the folder, so the folder is synced too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

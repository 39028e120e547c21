"""Where references and jobs are kept: one small interface, and a local folder behind it.

A store maps (section, name) to bytes. Everything above it (references.py, jobs.py) speaks only `Store`, so a shared
store (S3, a database) is one more class with these four methods and a line in settings; nothing else changes.

    data/store/references/horses.npz    statistics
    data/store/references/horses.json   what `GET /v1/references` shows
    data/store/jobs/4f1c....json        a job's record
    data/store/jobs/4f1c....request     what was asked, until the job is over
    data/store/jobs/4f1c....result      what came out

Names come from clients. They are matched against a pattern that has no separator, no leading dot and no control
character in it, before a path is made of them: a client cannot name a file outside the store.
"""

import re
from pathlib import Path
from typing import Protocol

from models.errors import InputError, NotFoundError, OverloadError
from models.files import atomic_path

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_KEY = re.compile(rf"(?:{_NAME.pattern})(?:\.[a-z]{{1,16}})?")  # a name, and the suffix that the code above adds
_SECTION = re.compile(r"[a-z]{1,32}")
_FULL_RETRY_S = 60.0


class Store(Protocol):
    """Bytes under (section, name). Safe to call from several threads."""

    def put(self, section: str, name: str, data: bytes) -> None:
        """Writes whole or not at all, over what was there. Raises OverloadError when there is no room."""

    def get(self, section: str, name: str) -> bytes:
        """Raises NotFoundError."""

    def delete(self, section: str, name: str) -> None:
        """Raises NotFoundError."""

    def names(self, section: str) -> list[str]:
        """All names in a section, sorted; an unused section is empty."""


def check_name(name: str, where: str = "name") -> str:
    """Returns `name` if it may be a name in a store, else raises InputError.

    Letters, digits, and `.`, `_`, `-` between them; 1 to 64 characters.
    """
    if _NAME.fullmatch(name) is None:
        raise InputError(
            f"{name[:80]!r} is not a name: use 1 to 64 letters, digits, dots, dashes and underscores, "
            "beginning and ending with a letter or a digit.",
            where=where,
        )
    return name


class FolderStore:
    """A `Store` in a local folder, made on the first write."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, section: str, name: str, data: bytes) -> None:
        path = self._path(section, name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                temporary.write_bytes(data)
        except OSError as error:
            raise OverloadError(
                f"The service's store cannot be written: {error.strerror}. Its operator has to make room.",
                retry_after_s=_FULL_RETRY_S,
            ) from error

    def get(self, section: str, name: str) -> bytes:
        try:
            return self._path(section, name).read_bytes()
        except FileNotFoundError:
            raise _missing(section, name) from None

    def delete(self, section: str, name: str) -> None:
        try:
            self._path(section, name).unlink()
        except FileNotFoundError:
            raise _missing(section, name) from None

    def names(self, section: str) -> list[str]:
        folder = self._path(section, "x").parent
        if not folder.is_dir():
            return []
        # neither temporary files nor what is no file, and would never be read to its end
        return sorted(entry.name for entry in folder.iterdir() if _KEY.fullmatch(entry.name) and entry.is_file())

    def _path(self, section: str, name: str) -> Path:
        if _SECTION.fullmatch(section) is None or _KEY.fullmatch(name) is None:
            raise InputError(f"{name[:80]!r} is not a name in the store.", where="name")
        return self._root / section / name


def _missing(section: str, name: str) -> NotFoundError:
    return NotFoundError(f"There is no {name} in {section}.", where="name")

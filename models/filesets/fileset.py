"""A set of files, wherever it lies, and the one rule for which of them are images.

Training, metrics and the service count the same files of the same set, so that a score is of the images that were
learnt. Names are relative, with `/` between folders, and sorted. Left out are hidden files and folders (.DS_Store,
.git, .ipynb_checkpoints) and what macOS packs beside every file (__MACOSX). Of the others those are images whose
ending says so, or whose first bytes do where the name has no ending.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Protocol

from PIL import Image

from models.decoding import ACCEPTED, HEAD, coded_as
from models.errors import InputError

SUFFIXES = frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in ACCEPTED)
_SIGNATURES = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|BM.{4}\0{4}|II[*+]\0|MM\0[*+]|RIFF.{4}WEBP|P[1-6]\s", re.DOTALL
)


class Read(Protocol):
    """Reads a file of a set by its name, from any thread; at most so many bytes of it, or all (-1).

    Raises:
        InputError: it cannot be read; the message names it.  LimitError: an image that unpacks to too much.
    """

    def __call__(self, name: str, most: int = -1) -> bytes: ...


@dataclass(frozen=True)
class FileSet:
    """Files below one root: a folder, or an archive that is read in place.

    name: for results and errors.
    names: of all files that are not hidden, sorted.  folders: likewise, empty ones too.
    read: gives a file's bytes.
    """

    name: str
    names: tuple[str, ...]
    folders: tuple[str, ...]
    read: Read = field(repr=False)

    @cached_property
    def images(self) -> tuple[str, ...]:
        """The names that are images."""
        return tuple(name for name in self.names if has_image_ending(name) or self._is_unnamed_image(name))

    @property
    def skipped(self) -> dict[str, int]:
        """How many files were no images, by their ending ("" for none)."""
        return endings(set(self.names) - set(self.images))

    def _is_unnamed_image(self, name: str) -> bool:
        if ending(name):
            return False
        try:
            return begins_like_an_image(self.read(name, HEAD))
        except InputError:
            return False


def ending(name: str) -> str:
    """ ".jpg" of "a/b.JPG", "" of a name without one."""
    return PurePosixPath(name).suffix.lower()


def endings(names: Iterable[str]) -> dict[str, int]:
    """How many of the names have each ending, the most frequent first."""
    return dict(Counter(sorted(map(ending, names))).most_common())


def has_image_ending(name: str) -> bool:
    """Whether the name says that this is an image of an accepted kind."""
    return ending(name) in SUFFIXES


def begins_like_an_image(head: bytes) -> bool:
    """Whether the first 64 bytes are those of an image of an accepted kind."""
    return _SIGNATURES.match(head) is not None or coded_as(head) in ACCEPTED


def is_hidden(name: str) -> bool:
    """Whether the file, or a folder on its way, is one that file managers do not show."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def member_name(name: str) -> str:
    """An archive's name for a file as a relative one: `/` for `\\`, no drive, no leading `/`, no `.` and no `..`.

    Nothing is unpacked by it, so it need not be refused: it leads nowhere, and unzip and tar strip the same parts.
    """
    parts = re.sub(r"^[A-Za-z]:", "", name.replace("\\", "/")).split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def parents(names: Iterable[str]) -> set[str]:
    """Every folder on the way to the names."""
    return {parent.as_posix() for name in names for parent in PurePosixPath(name).parents} - {"."}


def why_skipped(skipped: Mapping[str, int]) -> str | None:
    """One sentence about the files that were no images, or None where there are none."""
    if not skipped:
        return None
    kinds = ", ".join(f"{count:,} {suffix or 'without an ending'}" for suffix, count in skipped.items())
    accepted = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
    count = sum(skipped.values())
    return (
        f"{count:,} file{' was' if count == 1 else 's were'} left out, as neither the ending nor, without one, the "
        f"content is an image's: {kinds} (images are {accepted})."
    )

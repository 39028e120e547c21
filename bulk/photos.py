"""A piece of a set of photos, and how it is read: each photo its pixels, or the sentence that says why not."""

import io
import itertools
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bulk import places
from metrics import load_image
from models import InputError, Pixels, filesets, legible

MAX_PIXELS = 16_777_216
"""Of one photo, as in a job of the service. Every actor holds some 40 bytes a pixel while it joins tiles."""

Photo = tuple[str, Pixels | str]


@dataclass(frozen=True)
class Piece:
    """Photos that are worked on at a time, by their names; or shards, each a tar with photos in it."""

    names: tuple[str, ...]


def pieces(names: Iterable[str], size: int) -> list[Piece]:
    """The names in pieces of `size`, shards one by one: they are pieces already."""
    every = list(names)
    photos, shards = [one for one in every if not is_shard(one)], [one for one in every if is_shard(one)]
    return [Piece(few) for few in _batched(photos, size)] + [Piece((name,)) for name in shards]


def _batched(names: list[str], size: int) -> Iterator[tuple[str, ...]]:
    every = iter(names)
    while few := tuple(itertools.islice(every, size)):
        yield few


def is_shard(name: str) -> bool:
    """Whether the name is that of a tar, as `bulk.sample` writes them."""
    return filesets.ending(name) == ".tar"


@dataclass(frozen=True)
class Reader:
    """Reads pieces of what lies at `where`, in whatever process it is called.

    max_pixels: of one photo; a larger one is broken.
    """

    where: str
    max_pixels: int = MAX_PIXELS

    def __call__(self, piece: Piece) -> list[Photo]:
        files = places.source(self.where)
        return [photo for name in piece.names for photo in self._photos(files, name)]

    def _photos(self, files: filesets.FileSet, name: str) -> Iterator[Photo]:
        try:
            data = files.read(name)
            members = _members(data) if is_shard(name) else [("", data)]
        except (InputError, tarfile.TarError) as error:
            yield name, str(error)
            return
        for member, content in members:
            yield self._photo(f"{name}/{member}" if member else name, content)

    def _photo(self, name: str, data: bytes) -> Photo:
        try:
            return name, load_image(data, legible(name), self.max_pixels)
        except InputError as error:
            return name, error.message


def _members(shard: bytes) -> list[tuple[str, bytes]]:
    """The photos of a shard, in order of their names."""
    with tarfile.open(fileobj=io.BytesIO(shard), mode="r:") as archive:
        found = [member for member in archive.getmembers() if member.isfile()]
        photos = [member for member in found if filesets.has_image_ending(member.name)]
        return [(member.name, _content(archive, member)) for member in sorted(photos, key=lambda one: one.name)]


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None  # it is of a plain file
    return file.read()

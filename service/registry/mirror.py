"""Models from a bucket: GAN_MODEL_BUCKET, copied into a folder that the registry looks at.

    s3://bucket/models/dcgan@2.safetensors          ──>  GAN_MODEL_CACHE/dcgan@2.safetensors
    s3://bucket/models/dcgan@2.safetensors.sha256        its digest, where there is one: a file of another is not taken
    s3://bucket/models/aliases.json                 ──>  GAN_MODEL_CACHE/aliases.json

A file appears whole, when its size and digest are right, and goes when the bucket has it no more. A bucket that cannot
be reached changes nothing: what is in the folder goes on being served, also by a process that starts meanwhile.
"""

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, ObjectStore

from models.errors import CheckpointError, GanError
from models.files import atomic_path, sha256_of
from service.storage import open_bucket

_SETTING = "GAN_MODEL_BUCKET"
_FILE = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._@+-]{0,199}\.safetensors|aliases\.json)")
_DIGEST = ".sha256"
_KEPT = ".mirror.json"  # in the folder: what was copied
_PIECE = 1 << 20  # bytes
_log = logging.getLogger("gan")


@dataclass(frozen=True)
class Copy:
    """What was copied: the object's tag and size in the bucket, and SHA-256 of the file."""

    tag: str
    size: int
    sha256: str


class Mirror:
    """Keeps `folder` as the bucket is.

    Args:
        where: a folder, or the URL of a bucket, as GAN_STORE is.
        every_s: seconds between two looks.
    Raises:
        ValueError: no such kind of place; the text shows no password.
    """

    def __init__(self, where: str, folder: Path, every_s: float) -> None:
        self._bucket, self._shown = _opened(where)
        self._folder = folder
        self._every_s = every_s
        self._copies: dict[str, Copy] = {}

    async def check(self) -> None:
        """Raises ValueError where the bucket cannot be read; not if it only cannot be reached, and there are copies."""
        try:
            await self._listed()
        except (PermissionDeniedError, UnauthenticatedError):
            raise ValueError(f"{_SETTING}: {self._shown} refuses these credentials.") from None
        except (FileNotFoundError, BaseError, OSError) as error:
            if isinstance(error, FileNotFoundError) or not await asyncio.to_thread(self._recorded):
                raise ValueError(f"{_SETTING}: {self._shown} cannot be read ({type(error).__name__}).") from None

    async def update(self) -> None:
        """Looks once, and copies and removes what changed. What goes wrong is logged."""
        try:
            if not self._copies:
                self._copies = await asyncio.to_thread(self._recorded)
            there = await self._listed()
        except (BaseError, OSError) as error:
            _log.warning("the models in %s cannot be looked at: %s", self._shown, type(error).__name__)
            return
        for name, (tag, size) in there.items():
            if _FILE.fullmatch(name) and not self._is_copied(name, tag, size):
                try:
                    self._copies[name] = await self._copy(name, tag, size, named=name + _DIGEST in there)
                except (GanError, BaseError, OSError) as error:
                    _log.warning("the model file %s of %s is not taken: %s", name, self._shown, _first_line(error))
        for name in self._copies.keys() - there.keys():
            (self._folder / name).unlink(missing_ok=True)
            del self._copies[name]
        await asyncio.to_thread(self._record)

    async def watch(self) -> None:
        """Again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.update()
            except Exception:
                _log.exception("looking for models in %s failed; trying again in %g s", self._shown, self._every_s)

    async def _listed(self) -> dict[str, tuple[str, int]]:
        """Names to tags and sizes."""
        if isinstance(self._bucket, LocalStore) and not await asyncio.to_thread(Path(self._shown).is_dir):
            raise FileNotFoundError(self._shown)  # such as a folder that is not mounted, whose list would be empty
        found = {}
        async for objects in obstore.list(self._bucket):
            for one in objects:
                if "/" not in one["path"]:
                    found[one["path"]] = (one["e_tag"] or str(one["last_modified"]), one["size"])
        return found

    def _is_copied(self, name: str, tag: str, size: int) -> bool:
        copy = self._copies.get(name)
        return copy is not None and (copy.tag, copy.size) == (tag, size)

    async def _copy(self, name: str, tag: str, size: int, named: bool) -> Copy:
        wanted = await self._digest(name) if named else None
        with atomic_path(self._folder / name) as path:
            with path.open("wb") as file:
                await self._download(name, file)
            if path.stat().st_size != size:
                raise CheckpointError("it did not come whole")
            sha256 = await asyncio.to_thread(sha256_of, path)
            if wanted not in (None, sha256):
                raise CheckpointError(f"its SHA-256 is {sha256}, and {name}{_DIGEST} says {wanted}")
        return Copy(tag, size, sha256)

    async def _digest(self, name: str) -> str:
        answer = await obstore.get_async(self._bucket, name + _DIGEST)
        words = bytes(await answer.bytes_async())[:100].decode("ascii", "replace").split()
        return words[0].lower() if words else ""

    async def _download(self, name: str, file: BinaryIO) -> None:
        answer = await obstore.get_async(self._bucket, name)
        async for piece in answer.stream(_PIECE):
            await asyncio.to_thread(file.write, piece)

    def _recorded(self) -> dict[str, Copy]:
        """The copies of an earlier process that are as it left them."""
        self._folder.mkdir(parents=True, exist_ok=True)
        kept: Mapping[str, Mapping[str, object]] = {}
        with contextlib.suppress(OSError, ValueError):
            kept = json.loads((self._folder / _KEPT).read_text())
        copies = {}
        for name, told in kept.items():
            with contextlib.suppress(OSError, TypeError):
                copy = Copy(**told)  # type: ignore[arg-type]
                if _FILE.fullmatch(name) and sha256_of(self._folder / name) == copy.sha256:
                    copies[name] = copy
        return copies

    def _record(self) -> None:
        with atomic_path(self._folder / _KEPT) as path:
            path.write_text(json.dumps({name: vars(copy) for name, copy in self._copies.items()}))


def _opened(where: str) -> tuple[ObjectStore, str]:
    if "://" in where:
        return open_bucket(where, _SETTING)
    if not Path(where).is_dir():
        raise ValueError(f"{_SETTING}: there is no folder {where}.")
    return LocalStore(where), where


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rpartition(" - ")[2]

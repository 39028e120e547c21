"""Named references: the statistics and features of a set, kept in the store so that it need not be sent again.

FID needs the statistics alone; the features are what KID, precision and its kin, and intervals need. Statistics that
were uploaded as an .npz have none.
"""

import asyncio
import contextlib
import hashlib
import logging
import secrets
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from metrics import FeatureSet, Statistics
from models.errors import ConflictError, InputError, NotFoundError, OverloadError
from service.named import Named, Words
from service.storage import Store

_log = logging.getLogger("gan")
_SECTION = "references"


@dataclass(frozen=True)
class Reference:
    """What is known of a reference besides its numbers.

    Attributes:
        n: images; None where statistics were uploaded that do not say.
        features: whether more than FID can be had.
        source: what it was made of.
        created_at: seconds since 1970.
        digest: SHA-256 of mu and sigma.
        skipped: files that came with the images and were none, and why; None where there were none.
        file: what the numbers are kept under; None for the name, as earlier versions of this service had it.
    """

    name: str
    n: int | None
    features: bool
    protocol: str | None
    extractor: str | None
    source: str
    created_at: Annotated[float, Field(ge=0, lt=1e11)]
    digest: str
    skipped: dict[str, Any] | None = None
    file: str | None = None

    @property
    def numbers(self) -> str:
        """The numbers' name in the store."""
        return f"{self.file or self.name}.npz"


_WORDS = Words("reference", missing="reference {name}", again="keep the set again", where="reference")


class References:
    """Named statistics in a store that other replicas use, too, `most` of them at most.

    The numbers come first, in a file that nobody else names; creating the record then decides who has the name.
    """

    def __init__(self, store: Store, most: int) -> None:
        self._store = store
        self._named = Named(store, _SECTION, Reference, _WORDS, most)
        self._packing = asyncio.Lock()  # downloads, whose files may be large, one at a time

    async def check_free(self, name: str) -> None:
        """Raises InputError, ConflictError or LimitError where `add` would, before anything is computed."""
        await self._named.check_free(name)

    async def add(self, name: str, kept: FeatureSet, source: str, skipped: dict[str, Any] | None = None) -> Reference:
        """Keeps a set under a name.

        Args:
            source, skipped: as `Reference` has them.
        Raises:
            InputError: not a name.  ConflictError: it is taken.  LimitError: too many.  OverloadError: no room.
        """
        await self._named.check_free(name)
        data = await asyncio.to_thread(to_npz, kept)
        statistics = kept.statistics
        reference = Reference(
            name=name,
            n=statistics.n,
            features=kept.features is not None,
            protocol=statistics.protocol,
            extractor=statistics.extractor,
            source=source,
            created_at=time.time(),
            digest=await asyncio.to_thread(digest_of, statistics),
            skipped=skipped,
            file=f"{await asyncio.to_thread(_short_digest, data)}-{secrets.token_hex(8)}",
        )
        await self._store.put(_SECTION, reference.numbers, data)
        try:
            await self._named.create(reference)
        except ConflictError:
            await self._discard(reference.numbers)
            raise
        return reference

    async def get(self, name: str) -> Reference:
        """Raises NotFoundError, with the names there are; also where the record is damaged."""
        return await self._named.get(name)

    async def has(self, name: str) -> bool:
        """Whether a record bears this name, also one that cannot be read."""
        return name in await self._named.names()

    async def features(self, name: str) -> FeatureSet:
        """What was kept. Raises NotFoundError."""
        reference = await self.get(name)
        return await asyncio.to_thread(from_npz, await self._numbers(reference), f"reference {name}")

    async def statistics(self, name: str) -> bytes:
        """The statistics alone, as an .npz that pytorch-fid reads. Raises NotFoundError."""
        reference = await self.get(name)
        async with self._packing:
            return await asyncio.to_thread(_without_features, await self._numbers(reference))

    async def delete(self, name: str) -> Reference:
        """Raises NotFoundError."""
        reference = await self.get(name)
        await self._named.discard(name)
        await self._discard(reference.numbers)
        return reference

    async def all(self) -> list[Reference]:
        """By name: those that can be read, and are not deleted meanwhile."""
        found = []
        for name in await self._named.names():
            try:
                found.append(await self.get(name))
            except (NotFoundError, InputError):
                continue
            except OverloadError as error:
                _log.warning("reference %s is left out of the list: %s", name, error.message)
        return found

    async def _discard(self, key: str) -> None:
        with contextlib.suppress(NotFoundError):  # another replica was first
            await self._store.delete(_SECTION, key)

    async def _numbers(self, reference: Reference) -> bytes:
        try:
            return await self._store.get(_SECTION, reference.numbers)
        except NotFoundError:
            raise await self._named.missing(reference.name) from None


def _short_digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def digest_of(statistics: Statistics) -> str:
    """SHA-256 of mu and sigma."""
    return hashlib.sha256(statistics.mu.tobytes() + statistics.sigma.tobytes()).hexdigest()


def to_npz(kept: FeatureSet | Statistics) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kept.npz"
        kept.save(path)
        return path.read_bytes()


def _without_features(data: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kept.npz"
        path.write_bytes(data)
        return to_npz(Statistics.load(path))


def from_npz(data: bytes, name: str) -> FeatureSet:
    """Raises InputError for what is neither statistics nor features; `name` is what the error calls it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kept.npz"
        path.write_bytes(data)
        try:
            return replace(FeatureSet.load(path), name=name)
        except InputError as error:
            raise InputError(error.message.replace(path.name, name), where=name) from error

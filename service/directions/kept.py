"""Named directions, kept in the store so that every replica knows them by name.

A direction means something to the checkpoint that it was fitted with alone, so its record holds that one's digest.
"""

import contextlib
import json
import logging
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError

import models
from models.errors import ConflictError, InputError, LimitError, NotFoundError, OverloadError
from service.storage import Store, check_name

_log = logging.getLogger("gan")
_SECTION = "directions"

Method = Literal["means", "linear"]


@dataclass(frozen=True)
class KeptDirection:
    """What is known of a direction.

    Attributes:
        vector: what to add, once, to a point of `space` of the checkpoint `digest`.
        model: the checkpoint's id when the direction was made.
        n_a, n_b: points in the set that it leads from, and in the one that it leads to.
        accuracy: of these points, how many lie on their own side of the plane halfway, 0..1.
        created_at: seconds since 1970.
    """

    name: str
    model: str
    digest: str
    space: models.Space
    method: Method
    n_a: int
    n_b: int
    accuracy: FiniteFloat
    created_at: Annotated[float, Field(ge=0, lt=1e11)]
    vector: list[FiniteFloat]

    def tensor(self) -> torch.Tensor:
        """float32 [size of the space]."""
        return torch.tensor(self.vector, dtype=torch.float32)


_RECORD = TypeAdapter(KeptDirection)


class Directions:
    """Named directions in a store that other replicas use, too: one record each, whose creation takes the name.

    A record that cannot be read is no direction: it is left out, with a line in the log, and the next `add` of its
    name replaces it.
    """

    def __init__(self, store: Store, most: int) -> None:
        self._store = store
        self._most = most
        self._known: dict[str, tuple[float, KeptDirection]] = {}  # when each record was written, and what it says

    async def check_free(self, name: str) -> None:
        """Raises InputError, ConflictError or LimitError where `add` would, before anything is computed."""
        with contextlib.suppress(NotFoundError):
            await self.get(check_name(name))
            raise _taken(name)
        if len(await self._names()) >= self._most:
            raise LimitError(f"{self._most} directions are kept already, the most; delete one first.", where="name")

    async def add(self, direction: KeptDirection) -> None:
        """Keeps a direction under its name.

        Raises:
            InputError: not a name.  ConflictError: it is taken.  LimitError: too many; of several that are added at
            one instant, a few more may pass.  OverloadError: no room.
        """
        name = direction.name
        await self.check_free(name)
        if name in await self._names():  # and free, so that its record is damaged
            await self._discard(name)
        try:
            await self._store.create(_SECTION, f"{name}.json", json.dumps(asdict(direction)).encode())
        except ConflictError:
            raise _taken(name) from None

    async def get(self, name: str) -> KeptDirection:
        """Raises NotFoundError, with the names there are; also where the record is damaged."""
        try:
            data = await self._store.get(_SECTION, f"{check_name(name)}.json")
        except NotFoundError:
            there = ", ".join(await self._names()) or "none yet"
            raise NotFoundError(f"There is no direction {name} kept here; there are: {there}.", where=name) from None
        try:
            return _RECORD.validate_json(data)
        except ValidationError as error:
            _log.warning("the record of direction %s cannot be read: %s", name, str(error).splitlines()[0])
            raise NotFoundError(
                f"The record of direction {name} is damaged; make it again under this name.", where=name
            ) from error

    async def delete(self, name: str) -> KeptDirection:
        """Raises NotFoundError."""
        direction = await self.get(name)
        await self._discard(name)
        return direction

    async def all(self) -> list[KeptDirection]:
        """By name: those that can be read, and are not deleted meanwhile. A record is read when it is new."""
        known: dict[str, tuple[float, KeptDirection]] = {}
        for name, written in (await self._names()).items():
            if name in self._known and self._known[name][0] == written:
                known[name] = self._known[name]
                continue
            with contextlib.suppress(NotFoundError, InputError):
                known[name] = written, await self.get(name)
        self._known = known
        return [direction for _, direction in known.values()]

    async def by_digest(self) -> dict[str, list[KeptDirection]]:
        """All of them by checkpoint; none, with a line in the log, where the store cannot be read."""
        found: dict[str, list[KeptDirection]] = {}
        try:
            for one in await self.all():
                found.setdefault(one.digest, []).append(one)
        except OverloadError as error:
            _log.warning("directions are left out of the list of models: %s", error.message)
        return found

    async def _discard(self, name: str) -> None:
        with contextlib.suppress(NotFoundError):  # another replica was first
            await self._store.delete(_SECTION, f"{name}.json")

    async def _names(self) -> dict[str, float]:
        """And when each was written."""
        names = await self._store.names(_SECTION)
        return {key.removesuffix(".json"): written for key, written in names.items() if key.endswith(".json")}


def _taken(name: str) -> ConflictError:
    return ConflictError(f"There is a direction {name} already; delete it first.", where="name")

"""Named directions, kept in the store so that every replica knows them by name.

A direction means something to the checkpoint that it was fitted with alone, so its record holds that one's digest.
"""

import contextlib
import logging
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field, FiniteFloat

import models
from models.errors import InputError, NotFoundError, OverloadError
from service.named import Named, Words
from service.storage import Store

_log = logging.getLogger("gan")

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


_WORDS = Words("direction", missing="direction {name} kept here", again="make it again")


class Directions:
    """Named directions in a store that other replicas use, too, `most` of them at most."""

    def __init__(self, store: Store, most: int) -> None:
        self._named = Named(store, "directions", KeptDirection, _WORDS, most)
        self._known: dict[str, tuple[float, KeptDirection]] = {}  # when each record was written, and what it says

    async def check_free(self, name: str) -> None:
        """Raises InputError, ConflictError or LimitError where `add` would, before anything is computed."""
        await self._named.check_free(name)

    async def add(self, direction: KeptDirection) -> None:
        """Keeps a direction under its name.

        Raises:
            InputError: not a name.  ConflictError: it is taken.  LimitError: too many.  OverloadError: no room.
        """
        await self._named.check_free(direction.name)
        await self._named.create(direction)

    async def get(self, name: str) -> KeptDirection:
        """Raises NotFoundError, with the names there are; also where the record is damaged."""
        return await self._named.get(name)

    async def delete(self, name: str) -> KeptDirection:
        """Raises NotFoundError."""
        direction = await self.get(name)
        await self._named.discard(name)
        return direction

    async def all(self) -> list[KeptDirection]:
        """By name: those that can be read, and are not deleted meanwhile. A record is read when it is new."""
        known: dict[str, tuple[float, KeptDirection]] = {}
        for name, written in (await self._named.names()).items():
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

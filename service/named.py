"""Named records in the store, so that every replica knows them by name: creating a record takes its name."""

import contextlib
import json
import logging
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from models.errors import ConflictError, LimitError, NotFoundError
from service.storage import Store, check_name

_log = logging.getLogger("gan")


class _Record(Protocol):
    """A dataclass that pydantic can check."""

    @property
    def name(self) -> str: ...


Record = TypeVar("Record", bound=_Record)


@dataclass(frozen=True)
class Words:
    """How messages speak of what bears the names.

    Attributes:
        noun: one of them, as "reference".
        missing: what there is not, as "reference {name}".
        again: what a person does about a damaged record, as "make it again".
        where: the field of a name that leads to nothing; None for the name itself.
    """

    noun: str
    missing: str
    again: str
    where: str | None = None


class Named(Generic[Record]):
    """The records of one section of a store that other replicas use, too.

    A record that cannot be read names nothing: `get` says so, with a line in the log, and `create` replaces it.

    Args:
        most: how many are kept; of several that are created at one instant, a few more may pass.
    """

    def __init__(self, store: Store, section: str, kind: type[Record], words: Words, most: int) -> None:
        self._store = store
        self._section = section
        self._kind = TypeAdapter(kind)
        self._words = words
        self._most = most

    async def names(self) -> dict[str, float]:
        """All names, those of damaged records among them, and when each record was written."""
        keys = await self._store.names(self._section)
        return {key.removesuffix(".json"): written for key, written in keys.items() if key.endswith(".json")}

    async def get(self, name: str) -> Record:
        """Raises InputError for what is no name, and NotFoundError, also where the record is damaged."""
        try:
            data = await self._store.get(self._section, _key(check_name(name)))
        except NotFoundError:
            raise await self.missing(name) from None
        try:
            return self._kind.validate_json(data)
        except ValidationError as error:
            noun = self._words.noun
            _log.warning("the record of %s %s cannot be read: %s", noun, name, str(error).splitlines()[0])
            raise NotFoundError(
                f"The record of {noun} {name} is damaged; {self._words.again} under this name.",
                where=self._words.where or name,
            ) from error

    async def missing(self, name: str) -> NotFoundError:
        """That there is none of this name, with the names there are."""
        there = ", ".join(await self.names()) or "none yet"
        sentence = f"There is no {self._words.missing.format(name=name)}; there are: {there}."
        return NotFoundError(sentence, where=self._words.where or name)

    async def check_free(self, name: str) -> None:
        """Raises InputError, ConflictError or LimitError where `create` would, before anything is computed."""
        await self._check_not_taken(check_name(name))
        if len(await self.names()) >= self._most:
            sentence = f"{self._most} {self._words.noun}s are kept already, the most; delete one first."
            raise LimitError(sentence, where="name")

    async def create(self, record: Record) -> None:
        """Of two at one instant, one has the name. Raises ConflictError, and OverloadError where there is no room."""
        key, data = _key(record.name), json.dumps(self._kind.dump_python(record, mode="json")).encode()
        with contextlib.suppress(ConflictError):
            return await self._store.create(self._section, key, data)
        await self._check_not_taken(record.name)
        await self.discard(record.name)
        try:
            return await self._store.create(self._section, key, data)
        except ConflictError:  # another replica replaced the damaged record
            raise self._taken(record.name) from None

    async def discard(self, name: str) -> None:
        """Frees a name, whether or not it is taken."""
        with contextlib.suppress(NotFoundError):  # another replica was first
            await self._store.delete(self._section, _key(name))

    async def _check_not_taken(self, name: str) -> None:
        with contextlib.suppress(NotFoundError):
            await self.get(name)
            raise self._taken(name)

    def _taken(self, name: str) -> ConflictError:
        return ConflictError(f"There is a {self._words.noun} {name} already; delete it first.", where="name")


def _key(name: str) -> str:
    return f"{name}.json"

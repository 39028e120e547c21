"""Jobs in the store. What matters is created once, so that no two replicas need to agree on anything else.

    ID.request         what was asked, created once: whoever creates it has submitted the job
    ID-TOKEN.payload   what it was asked with; both go when the job is over
    ID.json            the attempt that runs it
    ID.result          how it ended, created once: the first ending is the last, done and cancelled alike
    ID-TOKEN.body      the answer's bytes
    ID.callback        somebody is to be told that it is over, and has not been
    ID-NUMBER.try      created once: whoever creates it makes this attempt to tell
    ID.webhook         what became of the attempts so far

A job without a result is unfinished. Whatever a crash leaves between two of these writes is either taken up again
(a request), finished (a result beside its request), or removed as stray.
"""

import contextlib
import dataclasses
import logging
import os
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import BinaryIO, TypeVar

from models.errors import ConflictError, NotFoundError, OverloadError
from service.jobs.records import Attempt, Delivery, Record, Request
from service.storage import Place, Store

_SECTION = "jobs"
_SMALL = 8 * 2**20  # bytes of a result; larger ones are streamed
_FILE = re.compile(
    r"([0-9a-f]{32})"
    r"(?:-[0-9a-f]{16}\.(?:payload|body)|-([0-9]{1,2})\.try|\.(?:request|json|result|callback|webhook))"
)
_log = logging.getLogger("gan")

Kind = TypeVar("Kind", Request, Attempt, Record, Delivery)


class Kept:
    """The jobs of one store. Methods raise OverloadError where the store cannot be used."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._odd: set[str] = set()

    async def request(self, job_id: str) -> Request | None:
        return await self._read(Request, f"{job_id}.request")

    async def attempt(self, job_id: str) -> Attempt | None:
        return await self._read(Attempt, f"{job_id}.json")

    async def ending(self, job_id: str) -> Record | None:
        return await self._read(Record, f"{job_id}.result")

    async def submit(self, job_id: str, request: Request, payload: bytes) -> None:
        """Keeps what was asked. Raises ConflictError where this job has been submitted."""
        name = _file_of(job_id, "payload")
        await self._store.put(_SECTION, name, payload)
        try:
            kept = dataclasses.replace(request, payload=name)
            if request.callback is not None:  # before the job is there, or a crash might have nobody told
                await self._store.put(_SECTION, f"{job_id}.callback", b"")
            await self._store.create(_SECTION, f"{job_id}.request", kept.dump())
        except (ConflictError, OverloadError):
            await self._remove((name,))
            raise

    async def payload(self, request: Request) -> bytes:
        """Raises NotFoundError."""
        return await self._store.get(_SECTION, request.payload)

    async def begin(self, job_id: str, attempts: int) -> Attempt:
        """Makes the job its own: whoever ran it until now finds that another does."""
        attempt = Attempt(attempts, secrets.token_hex(16), time.time())
        await self._store.put(_SECTION, f"{job_id}.json", attempt.dump())
        return attempt

    async def give_back(self, job_id: str, attempt: Attempt) -> None:
        """Does not count an attempt that was stopped in an orderly way."""
        given = dataclasses.replace(attempt, attempts=attempt.attempts - 1, state="queued")
        await self._store.put(_SECTION, f"{job_id}.json", given.dump())

    async def end(self, record: Record, body: bytes | BinaryIO | None = None) -> Record:
        """Keeps how a job ended, unless it has ended already; returns the ending that holds."""
        if body is not None:
            record = dataclasses.replace(record, body=_file_of(record.id, "body"), size=_size_of(body))
            await self._store.put(_SECTION, str(record.body), body, record.media_type)
        try:
            await self._store.create(_SECTION, f"{record.id}.result", record.dump())
        except ConflictError:
            if record.body is not None:
                await self._remove((record.body,))
            return await self.ending(record.id) or record
        except OverloadError:  # the bytes would fill a full store once more with each try
            if record.body is not None:
                await self._remove((record.body,))
            raise
        await self.forget_request(record.id)
        return record

    async def forget_request(self, job_id: str) -> None:
        """Removes what was asked by a job that is over."""
        request = await self.request(job_id)
        await self._remove((f"{job_id}.request", *([request.payload] if request else ())))

    async def delivery(self, job_id: str) -> Delivery:
        return await self._read(Delivery, f"{job_id}.webhook") or Delivery()

    async def try_to_tell(self, job_id: str, number: int) -> None:
        """Makes this attempt its own. Raises ConflictError where it is another's, or nobody needs it now."""
        mine = f"{job_id}-{number}.try"
        await self._store.create(_SECTION, mine, b"")
        try:
            await self._store.get(_SECTION, f"{job_id}.callback")
        except NotFoundError:  # `told` removes it before the attempts, so another has told since we looked
            await self._remove((mine,))
            raise ConflictError("nobody is to be told any more") from None

    async def keep_delivery(self, job_id: str, delivery: Delivery) -> None:
        await self._store.put(_SECTION, f"{job_id}.webhook", delivery.dump())

    async def told(self, job_id: str, attempts: int) -> None:
        """There is nobody to be told any more."""
        await self._remove((f"{job_id}.callback", *(f"{job_id}-{number}.try" for number in range(1, attempts + 1))))

    async def body(self, record: Record) -> bytes | Place:
        """In memory where it is small. Raises NotFoundError."""
        if record.size is not None and record.size > _SMALL:
            return await self._store.place(_SECTION, str(record.body))
        return await self._store.get(_SECTION, str(record.body))

    async def remove(self, record: Record) -> None:
        """Removes what is kept of a job that is over."""
        if record.callback is not None:
            await self.told(record.id, (await self.delivery(record.id)).attempts)
            await self._remove((f"{record.id}.webhook",))
        await self.remove_files((f"{record.id}.json", *([record.body] if record.body else ()), f"{record.id}.result"))

    async def remove_files(self, names: Iterable[str]) -> None:
        """Removes them; a result last, so that a crash in between is made good later."""
        await self._remove(sorted(names, key=lambda name: name.endswith(".result")))

    async def files(self) -> dict[str, dict[str, float]]:
        """By job, the names of its files, and when each was written."""
        found: dict[str, dict[str, float]] = {}
        for name, written in (await self._store.names(_SECTION)).items():
            if (match := _FILE.fullmatch(name)) is not None:
                found.setdefault(match[1], {})[name] = written
        return found

    async def secret(self) -> bytes:
        """Random bytes that all replicas share."""
        with contextlib.suppress(ConflictError):
            try:
                return await self._store.get("secrets", "jobs")
            except NotFoundError:
                await self._store.create("secrets", "jobs", secrets.token_bytes(32))
        return await self._store.get("secrets", "jobs")

    async def _read(self, kind: type[Kind], name: str) -> Kind | None:
        """None where it is not there, or was written by another version of this service."""
        try:
            return kind.parse(await self._store.get(_SECTION, name))
        except NotFoundError:
            return None
        except ValueError:
            if name not in self._odd:
                self._odd.add(name)
                _log.warning("the file %s of the jobs cannot be read; another version of this service may", name)
            return None

    async def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            with contextlib.suppress(NotFoundError, OverloadError):
                await self._store.delete(_SECTION, name)


def _size_of(body: bytes | BinaryIO) -> int:
    return len(body) if isinstance(body, bytes) else body.seek(0, os.SEEK_END)


def tries(files: Mapping[str, float]) -> dict[int, float]:
    """Of a job's files, the attempts to tell that were begun, and when."""
    found = {name: _FILE.fullmatch(name) for name in files}
    return {int(match[2]): files[name] for name, match in found.items() if match is not None and match[2]}


def _file_of(job_id: str, suffix: str) -> str:
    return f"{job_id}-{secrets.token_hex(8)}.{suffix}"

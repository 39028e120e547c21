"""Jobs: work that may outlast a request. Plain Python over the store; job_routes.py puts HTTP on top.

    submit ──> queued ──> running ──> done | failed
                  │          ├──────> cancelled      by the client
                  └──────────┴──────> interrupted    the service went down while running it, too often

One job of a kind runs at a time, in the order of submission; the number that wait is bounded. What was asked is kept
in the store until the job is over, so a job survives a restart: it is simply begun again. A job belongs to the
process that runs it for as long as that process signs its record every few seconds; what nobody signs any more,
another process takes over. So a shared store needs no further coordination, and at worst a job is run twice, with
one result.

Why not `@bentoml.task`: it has no progress, its cancel answers 400 while the work goes on, every task starts at once
without a bound, a restart leaves its row "in_progress" for ever, the client cannot submit files, and rows live in
BentoML's own sqlite file where a second replica does not see them.
"""

import asyncio
import contextlib
import dataclasses
import hashlib
import itertools
import logging
import os
import re
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import ConflictError, InputError, NotFoundError, OverloadError
from service.call import Answer, Progress
from service.jobs.envelope import pack_answer, unpack_answer
from service.jobs.records import OWNER, Record, State
from service.storage import Store

Runner = Callable[[bytes, Progress], Awaitable[Answer]]
"""Does the work that a packed call asks for. An answer of status 400 or more is a failed job."""

_log = logging.getLogger("gan")
_SECTION = "jobs"
_ID = re.compile(r"[0-9a-f]{32}")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_SUFFIXES = ("request", "cancel", "result", "json")  # the record last: without it the others would be orphans


@dataclass
class _Live:
    """A job of this process that is not over. `record` is what was saved, `progress` what came since."""

    record: Record
    task: "asyncio.Task[None] | None" = None
    cancelled: bool = False
    progress: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def shown(self) -> Record:
        """The record with the progress of this moment."""
        return dataclasses.replace(self.record, **({} if self.record.over else self.progress))


class Jobs:
    """Submits, runs and keeps jobs.

    Args:
        max_waiting: how many jobs may be queued or running in this process.
        attempts: how often one is begun, where the service goes down while running it.
        keep_s: seconds that a finished job and its result are kept.  keep: the most finished jobs kept.
        sign_s: seconds between signatures; a job that was not signed for three times that is taken over.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_waiting: int = 32,
        attempts: int = 3,
        keep_s: float = 86_400.0,
        keep: int = 200,
        sign_s: float = 10.0,
    ) -> None:
        self._store = store
        self._runners: dict[str, Runner] = {}
        self._max_waiting = max_waiting
        self._attempts = attempts
        self._keep_s = keep_s
        self._keep = keep
        self._sign_s = sign_s
        self._live: dict[str, _Live] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._submitting = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._housekeeper: asyncio.Task[None] | None = None

    def register(self, kind: str, runner: Runner) -> None:
        """Names the work of a kind; before `start`, so that what is taken up again finds it."""
        self._runners[kind] = runner
        self._turns[kind] = asyncio.Lock()

    async def start(self) -> None:
        """Takes up what an earlier process left, and keeps house until `stop`; both in the background."""
        self._housekeeper = asyncio.create_task(self._keep_house())

    async def stop(self) -> None:
        """Hands unfinished jobs back to the store; the next process begins them again."""
        jobs = [live.task for live in self._live.values()]
        for task in filter(None, [self._housekeeper, *jobs]):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def submit(self, kind: str, payload: bytes, key: str | None = None, client: str = "") -> Record:
        """Queues a job, or finds the one that was submitted under the same key.

        Args:
            key: the client's idempotency key, 1 to 255 visible ASCII characters.
            client: whose key it is; other clients' equal keys are other keys.
        Raises:
            ConflictError: the key was used for something else.  OverloadError: too many jobs wait.
            InputError: the key is malformed.
        """
        digest = hashlib.sha256(kind.encode() + b"\n" + payload).hexdigest()
        async with self._submitting:
            job_id = _id_of(client, key) if key is not None else secrets.token_hex(16)
            with contextlib.suppress(NotFoundError):
                earlier = await self.get(job_id)
                if earlier.digest != digest:
                    raise ConflictError(
                        "This Idempotency-Key was used for a different request; choose a new one.",
                        where="Idempotency-Key",
                    )
                return earlier
            if len(self._live) >= self._max_waiting:
                raise OverloadError(
                    f"{len(self._live)} jobs are waiting already, the most accepted; try again later.",
                    retry_after_s=min((live.shown().seconds_left or 60.0) for live in self._live.values()),
                )
            record = Record(job_id, kind, "queued", digest, created_at=time.time())
            await self._put(f"{job_id}.request", payload)
            return await self._begin(record)

    async def get(self, job_id: str) -> Record:
        """The job as it is now. Raises NotFoundError."""
        if _ID.fullmatch(job_id) is None:
            raise NotFoundError("There is no such job; ids are 32 hexadecimal digits.", where="id")
        if job_id in self._live:
            return self._live[job_id].shown()
        try:
            return Record.parse(await asyncio.to_thread(self._store.get, _SECTION, f"{job_id}.json"))
        except NotFoundError:
            raise NotFoundError(
                f"There is no job {job_id}; finished ones are kept for {self._keep_s / 3600:g} h.", where="id"
            ) from None
        except (TypeError, ValueError):  # written by another version of this service
            raise NotFoundError(f"There is no record that can be read of job {job_id}.", where="id") from None

    async def result(self, job_id: str) -> Answer:
        """What the request would have been answered, success or error.

        Raises:
            ConflictError: not over yet, or it ended without an answer.  NotFoundError: no such job.
        """
        record = await self.get(job_id)
        if record.status is None:
            raise ConflictError(f"The job is {record.state} and has no result.", where="id")
        return unpack_answer(await asyncio.to_thread(self._store.get, _SECTION, f"{job_id}.result"))

    async def delete(self, job_id: str) -> Record:
        """Cancels a job that is not over; removes one that is. Returns its last record. Raises NotFoundError."""
        record = await self.get(job_id)
        live = self._live.get(job_id)
        if live is not None and live.task is not None:
            live.cancelled = True
            live.task.cancel()
            await asyncio.wait((live.task,))
            return live.record
        if not record.over:  # another process runs it, and finds this when it next signs
            await self._put(f"{job_id}.cancel", b"")
            return record
        await self._remove(job_id, *_SUFFIXES)
        return record

    async def _begin(self, record: Record) -> Record:
        live = _Live(record)
        self._live[record.id] = live  # before it is in the store, or `tidy` would take it for an abandoned one
        try:
            await self._save(live)
        except BaseException:
            del self._live[record.id]
            raise
        live.task = asyncio.create_task(self._run(live))
        await asyncio.sleep(0)  # a task cancelled before its first step would not run its `finally`
        return live.record

    async def _run(self, live: _Live) -> None:
        job_id = live.record.id
        try:
            async with self._turns[live.record.kind]:
                await self._save(live, state="running", started_at=time.time(), attempts=live.record.attempts + 1)
                payload = await asyncio.to_thread(self._store.get, _SECTION, f"{job_id}.request")
                answer = await self._runners[live.record.kind](payload, _reporter(live))
            await self._put(f"{job_id}.result", pack_answer(answer))
            state: State = "done" if answer.status < 400 else "failed"
            await self._finish(live, state, status=answer.status)
        except asyncio.CancelledError:
            if not live.cancelled:  # the service stops
                await self._save(live, state="queued", attempts=0, done=0, seconds_left=None, signed_at=0.0, owner="")
                raise
            await self._finish(live, "cancelled")
        except Exception:  # the store's; the work's own errors are answers
            _log.exception("job %s could not be kept", job_id)
        finally:
            del self._live[job_id]

    async def _finish(self, live: _Live, state: State, **changes: Any) -> None:
        await self._save(live, state=state, finished_at=time.time(), seconds_left=None, **changes)
        await self._remove(live.record.id, "request", "cancel")

    async def _save(self, live: _Live, **changes: Any) -> None:
        """Changes, signs and stores a record. A job that is over stays as it is, whoever comes late."""
        # A thread writes on when its waiter is cancelled, so the lock must outlive the waiter too: hence the shield.
        await asyncio.shield(self._save_in_turn(live, changes))

    async def _save_in_turn(self, live: _Live, changes: Mapping[str, Any]) -> None:
        async with self._writing:
            if not live.record.over:
                signed = {**live.progress, "owner": OWNER, "signed_at": time.time(), **changes}
                record = dataclasses.replace(live.record, **signed)
                await self._put(f"{record.id}.json", record.dump())
                live.record = record

    async def _put(self, name: str, data: bytes) -> None:
        await asyncio.to_thread(self._store.put, _SECTION, name, data)

    async def _remove(self, job_id: str, *suffixes: str) -> None:
        for suffix in suffixes:
            with contextlib.suppress(NotFoundError):
                await asyncio.to_thread(self._store.delete, _SECTION, f"{job_id}.{suffix}")

    async def _keep_house(self) -> None:
        for turn in itertools.count():
            try:
                await (self._sign_all() if turn % 3 else self.tidy())
            except Exception:
                _log.exception("looking after the jobs failed; trying again in %s s", self._sign_s)
            await asyncio.sleep(self._sign_s)

    async def _sign_all(self) -> None:
        """Signs this process's jobs; one that another process cancelled meanwhile is cancelled here."""
        for job_id, live in list(self._live.items()):
            with contextlib.suppress(OverloadError):
                if await self._cancel_asked(job_id) and live.task:
                    live.cancelled = True
                    live.task.cancel()
                else:
                    await self._save(live)

    async def _cancel_asked(self, job_id: str) -> bool:
        with contextlib.suppress(NotFoundError):
            await asyncio.to_thread(self._store.get, _SECTION, f"{job_id}.cancel")
            return True
        return False

    async def tidy(self) -> None:
        """Signs, takes over what nobody signs, removes what was kept long enough."""
        await self._sign_all()
        names = await asyncio.to_thread(self._store.names, _SECTION)
        records = []
        for job_id in (name.removesuffix(".json") for name in names if name.endswith(".json")):
            if job_id not in self._live:
                with contextlib.suppress(NotFoundError):
                    records.append(await self.get(job_id))
        for record in sorted(records, key=lambda one: one.created_at):
            if not record.over and self._abandoned(record):
                await self._take_over(record)
        over = sorted((one for one in records if one.over), key=lambda one: one.finished_at or 0.0, reverse=True)
        for index, record in enumerate(over):
            if index >= self._keep or time.time() - (record.finished_at or 0.0) > self._keep_s:
                await self._remove(record.id, *_SUFFIXES)

    async def _take_over(self, record: Record) -> None:
        if await self._cancel_asked(record.id):
            await self._finish(_Live(record), "cancelled")
        elif record.attempts >= self._attempts or record.kind not in self._runners:
            await self._finish(_Live(record), "interrupted")
        else:
            _log.info("job %s was left unfinished; starting it again", record.id)
            await self._begin(dataclasses.replace(record, state="queued", done=0, seconds_left=None))

    def _abandoned(self, record: Record) -> bool:
        host, _, process = record.owner.partition(":")
        if host == socket.gethostname() and process.isdigit():
            # This very process does not run it, so an earlier one with the same number did (in a container: 1).
            return int(process) == os.getpid() or not _alive(int(process))
        return time.time() - record.signed_at > 3 * self._sign_s


def _reporter(live: _Live) -> Progress:
    """Turns (done, total) into the record's progress and time left, by the pace since the first report."""
    first: tuple[float, int] | None = None

    def report(done: int, total: int) -> None:
        nonlocal first
        now = time.monotonic()
        first = first or (now, done)
        since, begun = first
        left = (now - since) / (done - begun) * (total - done) if done > begun else None
        live.progress = {"done": done, "total": total, "seconds_left": left}

    return report


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _id_of(client: str, key: str) -> str:
    if _KEY.fullmatch(key) is None:
        raise InputError(
            "Idempotency-Key must be 1 to 255 visible ASCII characters, such as a UUID.", where="Idempotency-Key"
        )
    return hashlib.sha256(f"{client}\n{key}".encode()).hexdigest()[:32]

"""Jobs: work that may outlast a request. Plain Python over a store and SAQ; endpoints/jobs.py puts HTTP on top.

    submit ──> queued ──> running ──> done | failed
                  │          ├──────> cancelled      by the client
                  └──────────┴──────> interrupted    begun three times, and cut short each time

The store says what is true of a job (kept.py), a queue who works next (queues.py), and each attempt makes sure that it
is the one to work (attempt.py). What is lost between them is found again, and what is old removed, by house.py.

One job of a kind runs at a time in each process, in the order of submission; the number that wait is bounded.
"""

import asyncio
import contextlib
import hashlib
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from saq.job import Job, Status

import models
from models.errors import ConflictError, InputError, NotFoundError, OverloadError
from service.call import Answer, Principal
from service.jobs.attempt import Left, Runner, UnreadableError, attempt
from service.jobs.callbacks import Callbacks
from service.jobs.followers import Followers
from service.jobs.house import House
from service.jobs.kept import Kept
from service.jobs.owners import Owners
from service.jobs.queues import Queues
from service.jobs.records import Record, Request
from service.jobs.saq_worker import SaqWorker
from service.jobs.webhooks import Webhooks
from service.storage import Store
from service.telemetry import Telemetry

__all__ = ["Jobs", "Runner", "UnreadableError"]

Check = Callable[[], Awaitable[object]]

_ID = re.compile(r"[0-9a-f]{32}")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_BUSY_RETRY_S = 30.0
_LOOK_S = 0.25  # between two looks at a job that is followed
_LOOK_SHARED_S = 1.0  # the same, where a look goes over the network
_FREE_S = 5.0  # that a cancelled job may take to end, before its client is answered all the same
_log = logging.getLogger("gan")


class Jobs:
    """Submits, runs and keeps jobs.

    Args:
        url: of the server where jobs wait; None for this process.
        telemetry: where jobs are counted.
        work: whether this process runs jobs; if not, it only answers.
        max_waiting: how many jobs may be queued or running.
        attempts: how often one is begun, where processes die while running it.
        keep_s: seconds that a finished job and its result are kept.
        dead_s: seconds without a sign of life after which a job is taken from who runs it.
        followers, followers_per_caller: how many may follow jobs at once.
        callbacks: who may be told that a job is over.
    """

    def __init__(
        self,
        store: Store,
        url: str | None = None,
        telemetry: Telemetry | None = None,
        *,
        work: bool = True,
        max_waiting: int = 32,
        attempts: int = 3,
        keep_s: float = 86_400.0,
        dead_s: float = 30.0,
        followers: int = 256,
        followers_per_caller: int = 32,
        callbacks: Callbacks = Callbacks(),  # noqa: B008  it is frozen
    ) -> None:
        self._kept = Kept(store)
        self._owners = Owners(self._kept)
        self._queues = Queues(url)
        self._telemetry = telemetry or Telemetry()
        self._runners: dict[str, Runner] = {}
        self._does_work = work
        self._max_waiting = max_waiting
        self._attempts = attempts
        self._keep_s = keep_s
        self._look_s = dead_s / 20  # 1.5 s: what another replica tells of a job is less than two seconds old
        self._here: dict[str, asyncio.Task[Left]] = {}
        self.webhooks = Webhooks(self._kept, callbacks)
        self.house = House(
            self._kept,
            self._queues,
            self._telemetry,
            self._runners,
            self._here,
            self.webhooks,
            keep_s=keep_s,
            dead_s=dead_s,
        )
        pause_s = _LOOK_SHARED_S if self._queues.shared else _LOOK_S
        self.followers = Followers(self.get, pause_s=pause_s, most=followers, most_of_one=followers_per_caller)
        self._workers: list[SaqWorker] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._keeping: asyncio.Task[None] | None = None

    def register(self, kind: str, runner: Runner) -> None:
        """Names the work of a kind; before `connect`."""
        self._runners[kind] = runner
        self._queues.of(kind)

    async def connect(self) -> None:
        """Makes sure that there is a queue, and that all who share it share the store. Raises ValueError."""
        await self._queues.connect()
        if self._queues.shared:
            store = hashlib.sha256(b"store\n" + await self._kept.secret()).hexdigest()
            await self._queues.join(store, watch_s=5 * self._look_s)

    async def start(self) -> None:
        """Begins to work and to keep house, both in the background."""
        self._keeping = asyncio.create_task(self.house.keep())
        for kind in self._runners if self._does_work else ():
            worker = SaqWorker(self._queues.of(kind), self._run, self._queues.listen_s)
            self._workers.append(worker)
            self._tasks.append(asyncio.create_task(worker.start()))
        await asyncio.sleep(0)  # so that they have begun: SAQ forgets a stop that comes before, for half a minute

    async def stop(self) -> None:
        """Hands unfinished jobs back; whoever works next begins them again. Whatever fails is logged: others wait."""
        if self._keeping is not None:
            self._keeping.cancel()
        ended = await asyncio.gather(*(worker.stop() for worker in self._workers), return_exceptions=True)
        ended += await asyncio.gather(*self._tasks, return_exceptions=True)
        ended += await asyncio.gather(self.webhooks.close(), self._queues.close(), return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                _log.error("stopping the jobs: %r", error)

    async def submit(
        self,
        kind: str,
        payload: bytes,
        key: str | None = None,
        client: str = "",
        principal: Principal | None = None,
        callback: str | None = None,
        check: Check | None = None,
    ) -> Record:
        """Queues a job, or finds the one that was submitted under the same key, and queues it if it is not.

        Args:
            key: the client's idempotency key, 1 to 255 visible ASCII characters.
            client: whose idempotency key it is, where there is no principal; others' equal keys are other keys.
            principal: whose API key submits it, and alone will see it, but for operators.
            callback: the address that is told when it is over.
            check: raises what the job is bound to fail with; it is asked of a new job alone.
        Raises:
            ConflictError: the key was used for something else.
            InputError: the key is malformed, or the callback is not called.
            OverloadError: too many jobs wait, or the store or the queue cannot be used.
            Whatever `check` does.
        """
        if callback is not None:
            self.webhooks.check(callback)
        digest = await asyncio.to_thread(_digest_of, kind, payload)
        client = principal.identity if principal is not None else client
        job_id = await self._owners.job_id(client, _checked(key)) if key is not None else secrets.token_hex(16)
        if key is not None and (earlier := await self._submitted(job_id, digest)):
            return earlier
        if (waiting := await self._queues.count()) >= self._max_waiting:
            raise OverloadError(
                f"{waiting} jobs are waiting already, the most accepted; try again later.",
                retry_after_s=_BUSY_RETRY_S,
            )
        if check is not None:
            await check()
        owner = await self._owners.of(principal) if principal is not None else None
        request = Request(kind, digest, time.time(), models.random_seed(), "", owner, callback)
        try:
            await self._kept.submit(job_id, request, payload)
        except ConflictError:  # another replica was asked the same at the same time
            if earlier := await self._submitted(job_id, digest):
                return earlier
            raise
        try:
            await self._queues.enqueue(kind, job_id)
        except OverloadError:
            if key is None:  # nobody can ask for it again; with a key, the same request would find it
                await self._kept.forget_request(job_id)
            raise
        return Record.of(job_id, request)

    async def get(self, job_id: str, principal: Principal | None = None) -> Record:
        """The job as it is now.

        Args:
            principal: whose API key asks, here and below; None where no keys are asked for, or the service does itself.

        Raises:
            NotFoundError: no such job, or another's.
            OverloadError: it is not over, and the queue that knows how far it is is gone.
        """
        if _ID.fullmatch(job_id) is None:
            raise NotFoundError("There is no such job; ids are 32 hexadecimal digits.", where="id")
        found = await self._find(job_id, principal)
        if isinstance(found, Record):
            return found if found.callback is None else replace(found, delivery=await self._kept.delivery(job_id))
        job = await self._queues.job(found.kind, job_id) if found.kind in self._runners else None
        begun = await self._kept.attempt(job_id)
        if job is None or job.status != Status.ACTIVE or begun is None:
            return await self._kept.ending(job_id) or Record.of(job_id, found, attempts=begun.attempts if begun else 0)
        progress = {"done": 0, "total": 0, "seconds_left": None, **job.meta}
        return Record.of(
            job_id, found, state="running", started_at=begun.started_at, attempts=begun.attempts, **progress
        )

    async def result(self, job_id: str, principal: Principal | None = None) -> Answer:
        """What the request would have been answered, success or error; of what is large, where it is (307).

        Raises:
            ConflictError: not over yet, or it ended without an answer.  NotFoundError: no such job.
        """
        record = await self.get(job_id, principal)
        if record.status is None:
            raise ConflictError(f"The job is {record.state} and has no result.", where="id")
        body = await self._kept.body(record)
        if isinstance(body, str):
            there = {"Location": body, "Cache-Control": "no-store"}
            return Answer(b"", record.media_type, {**record.headers, **there}, status=307)
        length = {} if isinstance(body, bytes | Path) else {"Content-Length": str(record.size)}
        return Answer(body, record.media_type, {**record.headers, **length}, record.status)

    async def delete(self, job_id: str, principal: Principal | None = None) -> Record:
        """Cancels a job that is not over; removes one that is. Returns its last record. Raises NotFoundError.

        Cancelled is final once this returns, whoever runs the job, and should they be dead.
        """
        if _ID.fullmatch(job_id) is None:
            raise NotFoundError("There is no such job; ids are 32 hexadecimal digits.", where="id")
        found = await self._find(job_id, principal)
        if isinstance(found, Record):
            await self._kept.remove(found)
            return found
        begun = await self._kept.attempt(job_id)
        attempts, started = (begun.attempts, begun.started_at) if begun else (0, None)
        ended = await self._kept.end(
            Record.of(job_id, found, state="cancelled", finished_at=time.time(), attempts=attempts, started_at=started)
        )
        await self._let_go(found.kind, job_id)
        self._tell(job_id)
        return ended

    def _tell(self, job_id: str) -> None:
        """Of a job that has been left here, and may be over."""
        self.followers.hasten(job_id)
        self.webhooks.first(job_id)

    async def _let_go(self, kind: str, job_id: str) -> None:
        """Frees who runs a job that is over, and its place in the queue. Others find out within seconds."""
        if (run := self._here.get(job_id)) is not None:
            run.cancel()
            await asyncio.wait({run}, timeout=_FREE_S)
        with contextlib.suppress(OverloadError):
            job = await self._queues.job(kind, job_id) if kind in self._runners else None
            if job is not None:
                await self._queues.ask(job.abort("cancelled"))
                await self._queues.ask(job.finish(Status.ABORTED, error="cancelled"))

    async def _find(self, job_id: str, principal: Principal | None = None) -> Record | Request:
        """How it ended, or what was asked. Raises NotFoundError, of another's job as of none."""
        found = await self._kept.ending(job_id) or await self._kept.request(job_id)
        found = found or await self._kept.ending(job_id)  # it ended between the two
        if found is None or not await self._owners.may_see(principal, found):
            raise NotFoundError(
                f"There is no job {job_id} that can be read; finished ones are kept for {self._keep_s / 3600:g} h.",
                where="id",
            )
        return found

    async def _submitted(self, job_id: str, digest: str) -> Record | None:
        """The job that was submitted under this id, in the queue if it is not over. Raises ConflictError."""
        try:
            found = await self._find(job_id)
        except NotFoundError:
            return None
        if found.digest != digest:
            raise ConflictError(
                "This Idempotency-Key was used for a different request; choose a new one.", where="Idempotency-Key"
            )
        if isinstance(found, Request):
            await self._queues.enqueue(found.kind, job_id)
        return await self.get(job_id)

    async def _run(self, context: dict[str, Any]) -> None:
        """SAQ's worker calls this for a job that it took from the queue."""
        job: Job = context["job"]
        queue = job.get_queue()
        kind = queue.name.removeprefix("gan-")
        run = asyncio.create_task(
            attempt(
                job,
                self._runners[kind],
                self._kept,
                self._queues,
                most=self._attempts,
                look_s=self._look_s,
                shown=self.followers.hasten,
            )
        )
        self._here[job.key] = run
        try:
            with self._telemetry.job_seconds.labels(kind).time():
                left = await run
        except asyncio.CancelledError:
            if not await self._over(job.key):
                raise  # the service stops, and SAQ queues the job again
        else:
            if left is Left.TO_ANOTHER and self._queues.shared:  # it is theirs in the queue, too
                context["worker"].job_task_contexts[job]["aborted"] = "taken over"
        finally:
            run.cancel()
            del self._here[job.key]
            self._tell(job.key)

    async def _over(self, job_id: str) -> bool:
        with contextlib.suppress(OverloadError):
            return await self._kept.ending(job_id) is not None
        return False


def _checked(key: str) -> str:
    """An idempotency key. Raises InputError."""
    if _KEY.fullmatch(key) is None:
        raise InputError(
            "Idempotency-Key must be 1 to 255 visible ASCII characters, such as a UUID.", where="Idempotency-Key"
        )
    return key


def _digest_of(kind: str, payload: bytes) -> str:
    digest = hashlib.sha256(kind.encode() + b"\n")
    digest.update(payload)
    return digest.hexdigest()

"""One attempt at a job: does the work, and stops where it is no longer the one to do it.

Three tasks run side by side. One works and keeps the result. One looks into the store every few seconds: another
attempt may have taken the job over (this process was frozen, or cut off), or somebody may have cancelled it. One keeps
a small picture of what is made beside the progress.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import tempfile
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, BinaryIO, TypeVar

from saq.job import Job

from models.errors import NotFoundError, OverloadError
from models.images import Pixels
from service.call import Answer, Report
from service.jobs import preview
from service.jobs.kept import Kept
from service.jobs.queues import Queues
from service.jobs.records import Attempt, Record, Request, State

Runner = Callable[[bytes, int, Report, BinaryIO], Awaitable[Answer]]
"""Does the work that a packed call asks for, with a seed for what it leaves to chance. The empty temporary file is for
an answer that may be too large for memory.

An answer of status 400 or more is a failed job; an exception has it begun again. UnreadableError leaves it to a worker
of another version.
"""

_LONGEST_PAUSE_S = 10.0
_PREVIEW_S = 0.5  # at least, between two pictures of what is made
_PASS_ON_S = 5.0  # before a job that this version cannot read is offered again
_PASSED_ON_S = 3600.0  # for so long; while a service is updated, its old and new versions work side by side

_log = logging.getLogger("gan")

Result = TypeVar("Result")


class UnreadableError(Exception):
    """Another version of this service accepted this job, and asks what this one does not know."""


class Left(Enum):
    """How an attempt left its job."""

    OVER = "over"
    TO_ANOTHER = "to another"


async def attempt(
    job: Job,
    runner: Runner,
    kept: Kept,
    queues: Queues,
    *,
    most: int,
    look_s: float,
    shown: Callable[[str], None] = lambda job_id: None,
) -> Left:
    """Runs a job that SAQ's queue gave us.

    Args:
        most: attempts, after which it ends as interrupted.
        look_s: seconds between two looks into the store; progress is told as often.
        shown: called with the job's id each time that there is a new picture of what it makes.
    """
    taken = await _until_it_works(lambda: _take(job, kept, most))
    if taken is None:
        return Left.OVER
    request, mine = taken
    report = _Report(job)
    work = asyncio.create_task(_work(job, request, mine, runner, kept, report))
    watch = asyncio.create_task(_watch(job, mine, kept, queues, look_s))
    pictures = asyncio.create_task(report.keep_pictures(queues, shown))
    try:
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
            return Left.OVER
        return watch.result()
    except UnreadableError as error:
        if time.time() - request.created_at > _PASSED_ON_S:
            nobody = dataclasses.replace(mine, attempts=0)
            await _until_it_works(lambda: kept.end(_record(job, request, nobody, "interrupted")))
            return Left.OVER
        _log.warning("job %s is left to another version of this service: %s", job.key, error)
        await _until_it_works(lambda: kept.give_back(job.key, mine))
        job.retry_delay = _PASS_ON_S
        raise
    except asyncio.CancelledError:  # the service stops
        with contextlib.suppress(OverloadError):
            await asyncio.shield(kept.give_back(job.key, mine))
        raise
    finally:
        for task in (work, watch, pictures):
            task.cancel()
        await asyncio.gather(work, watch, pictures, return_exceptions=True)


async def _take(job: Job, kept: Kept, most: int) -> tuple[Request, Attempt] | None:
    """Begins an attempt; None where there is nothing more to do."""
    request = await kept.request(job.key)
    if request is None or await kept.ending(job.key):
        return None
    last = await kept.attempt(job.key)
    if last is not None and last.attempts >= most:
        await kept.end(_record(job, request, last, "interrupted"))
        return None
    return request, await kept.begin(job.key, (last.attempts if last else 0) + 1)


async def _work(job: Job, request: Request, mine: Attempt, runner: Runner, kept: Kept, report: "_Report") -> None:
    try:
        payload = await _until_it_works(lambda: kept.payload(request))
    except NotFoundError:  # another version of this service, or a person, has removed it
        await kept.end(_record(job, request, mine, "interrupted"))
        return
    with tempfile.TemporaryFile() as spool:  # it has no name, so that nothing is left of it when this process dies
        answer = await runner(payload, request.seed, report, spool)
        state: State = "done" if answer.status < 400 else "failed"
        kind, headers = answer.media_type, dict(answer.headers)
        record = _record(job, request, mine, state, status=answer.status, media_type=kind, headers=headers)
        body = answer.content if isinstance(answer.content, bytes) else spool
        await _until_it_works(lambda: kept.end(record, body))


async def _watch(job: Job, mine: Attempt, kept: Kept, queues: Queues, look_s: float) -> Left:
    while True:
        await asyncio.sleep(look_s)
        with contextlib.suppress(OverloadError):  # neither the store nor the queue need answer each time
            if await kept.ending(job.key):
                return Left.OVER
            if await kept.attempt(job.key) != mine:
                return Left.TO_ANOTHER
            await queues.ask(job.update())


async def _until_it_works(use: Callable[[], Awaitable[Result]]) -> Result:
    """A store that is full or away for a while costs neither an attempt nor what was computed."""
    pause_s = 0.5
    while True:
        try:
            return await use()
        except OverloadError:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _record(job: Job, request: Request, attempt: Attempt, state: State, **changes: Any) -> Record:
    return Record.of(
        job.key,
        request,
        state=state,
        started_at=attempt.started_at,
        finished_at=time.time(),
        done=job.meta.get("done", 0),
        total=job.meta.get("total", 0),
        attempts=attempt.attempts,
        **changes,
    )


class _Report:
    """What work tells of itself, kept where the queue has it: progress, time left by the pace since the first report,
    and a preview of what is made."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._job.meta = {}
        self._first: tuple[float, int] | None = None
        self._pictures: asyncio.Queue[Pixels] = asyncio.Queue(1)  # the newest

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        self._first = self._first or (now, done)
        since, begun = self._first
        left = (now - since) / (done - begun) * (total - done) if done > begun else None
        self._job.meta |= {"done": done, "total": total, "seconds_left": left}

    def show(self, picture: Pixels) -> None:
        if self._pictures.full():
            self._pictures.get_nowait()
        self._pictures.put_nowait(preview.sketch(picture))

    async def keep_pictures(self, queues: Queues, shown: Callable[[str], None]) -> None:
        for number in itertools.count(1):
            made = await asyncio.to_thread(preview.preview, number, await self._pictures.get())
            self._job.meta |= {"preview": made.model_dump()}
            shown(self._job.key)
            with contextlib.suppress(OverloadError):  # the next look tells it
                await queues.ask(self._job.update())
            await asyncio.sleep(_PREVIEW_S)

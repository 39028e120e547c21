"""One attempt at a job: does the work, and stops where it is no longer the one to do it.

Two tasks run side by side. One works and keeps the result. The other looks into the store every few seconds: another
attempt may have taken the job over (this process was frozen, or cut off), or somebody may have cancelled it.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, TypeVar

from saq.job import Job

from models.errors import NotFoundError, OverloadError
from service.call import Answer, Progress
from service.jobs.kept import Kept
from service.jobs.queues import Queues
from service.jobs.records import Attempt, Record, Request, State

Runner = Callable[[bytes, int, Progress], Awaitable[Answer]]
"""Does the work that a packed call asks for, with a seed for what it leaves to chance.

An answer of status 400 or more is a failed job; an exception has it begun again.
"""

_LONGEST_PAUSE_S = 10.0

Result = TypeVar("Result")


class Left(Enum):
    """How an attempt left its job."""

    OVER = "over"
    TO_ANOTHER = "to another"


async def attempt(job: Job, runner: Runner, kept: Kept, queues: Queues, *, most: int, look_s: float) -> Left:
    """Runs a job that SAQ's queue gave us.

    Args:
        most: attempts, after which it ends as interrupted.
        look_s: seconds between two looks into the store; progress is told as often.
    """
    taken = await _until_it_works(lambda: _take(job, kept, most))
    if taken is None:
        return Left.OVER
    request, mine = taken
    work = asyncio.create_task(_work(job, request, mine, runner, kept))
    watch = asyncio.create_task(_watch(job, mine, kept, queues, look_s))
    try:
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
            return Left.OVER
        return watch.result()
    except asyncio.CancelledError:  # the service stops
        with contextlib.suppress(OverloadError):
            await asyncio.shield(kept.give_back(job.key, mine))
        raise
    finally:
        for task in (work, watch):
            task.cancel()
        await asyncio.gather(work, watch, return_exceptions=True)


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


async def _work(job: Job, request: Request, mine: Attempt, runner: Runner, kept: Kept) -> None:
    try:
        payload = await _until_it_works(lambda: kept.payload(request))
    except NotFoundError:  # another version of this service, or a person, has removed it
        await kept.end(_record(job, request, mine, "interrupted"))
        return
    answer = await runner(payload, request.seed, _reporter(job))
    state: State = "done" if answer.status < 400 else "failed"
    kind, headers = answer.media_type, dict(answer.headers)
    record = _record(job, request, mine, state, status=answer.status, media_type=kind, headers=headers)
    await _until_it_works(lambda: kept.end(record, answer.content))


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
    return Record(
        id=job.key,
        kind=request.kind,
        state=state,
        digest=request.digest,
        created_at=request.created_at,
        started_at=attempt.started_at,
        finished_at=time.time(),
        done=job.meta.get("done", 0),
        total=job.meta.get("total", 0),
        attempts=attempt.attempts,
        **changes,
    )


def _reporter(job: Job) -> Progress:
    """Turns (done, total) into the job's progress and time left, by the pace since the first report."""
    first: tuple[float, int] | None = None
    job.meta = {}

    def report(done: int, total: int) -> None:
        nonlocal first
        now = time.monotonic()
        first = first or (now, done)
        since, begun = first
        left = (now - since) / (done - begun) * (total - done) if done > begun else None
        job.meta = {"done": done, "total": total, "seconds_left": left}

    return report

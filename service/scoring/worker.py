"""A thread for work of seconds to hours, which reports how far it is and stops when nobody waits for it any more.

There are four: of scores, of the gate, of drift and of inversion. None of them shares the thread that serves images. A
request for a score is turned away at once (OverloadError, with an estimate of when it would fit) rather than left to
wait behind a long one. Jobs wait instead: their number is bounded where they are submitted.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import metrics
from models.errors import OverloadError
from service.call import Progress
from service.settings import Settings

Result = TypeVar("Result")
Work = Callable[[Progress], Result]
"""A function of `report`, which it must call often with (done, total): when its caller left, `report` raises."""

_GUESS_S = 10.0  # time left of work that has not reported yet


class _Stopped(Exception):
    """Unwinds work whose caller left."""


class Worker:
    """Runs works one after the other on a thread of its own.

    Args:
        name: of the thread.
        begin: called first on the thread.
        max_waiting: how many impatient callers may wait while one runs.
        busy: what those past it are told.
    """

    def __init__(self, name: str, begin: Callable[[], None], *, max_waiting: int = 0, busy: str = "") -> None:
        self._max_waiting = max_waiting
        self._busy = busy
        self._executor = ThreadPoolExecutor(1, name, begin)
        self._lock = threading.Lock()
        self._active = 0  # running and waiting
        self._left_s = _GUESS_S
        self._closing = threading.Event()

    async def run(
        self, work: Work[Result], progress: Progress | None = None, *, patience_s: float | None = None
    ) -> Result:
        """The result of `work`; when the caller is cancelled, the work stops at its next report.

        Args:
            progress: called on the event loop with what the work reports.
            patience_s: how long the caller would wait for its turn; None waits as long as it takes.
        Raises:
            OverloadError: the queue is full, or the turn would come later than that; or the service goes down.
        """
        relay = _relay(asyncio.get_running_loop(), progress)
        stop = threading.Event()
        with self._lock:
            if patience_s is not None:
                self._check_room(patience_s)
            self._active += 1
            future = self._executor.submit(self._run, work, relay, stop)
        future.add_done_callback(self._leave)
        try:
            return await asyncio.wrap_future(future)
        finally:
            stop.set()

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing waits."""
        return self._active == 0

    def _check_room(self, patience_s: float) -> None:
        if self._active == 0:
            return
        waiting = self._active - 1
        wait_s = self._left_s + waiting * _GUESS_S
        if waiting >= self._max_waiting or wait_s > patience_s:
            raise OverloadError(self._busy, retry_after_s=wait_s)

    def _leave(self, _: Future[Any]) -> None:
        with self._lock:
            self._active -= 1

    def _run(self, work: Work[Result], relay: Progress, stop: threading.Event) -> Result:
        started = time.monotonic()
        self._left_s = _GUESS_S

        def report(done: int, total: int) -> None:
            if self._closing.is_set():
                raise OverloadError("The service is going down; send this again.", retry_after_s=_GUESS_S)
            if stop.is_set():
                raise _Stopped
            if done:
                self._left_s = (time.monotonic() - started) / done * max(total - done, 0)
            relay(done, total)

        report(0, 0)
        return work(report)

    def close(self) -> None:
        """Stops what runs at its next report, and drops what waits. Not on the event loop, which the work may need."""
        self._closing.set()
        self._executor.shutdown(cancel_futures=True)


def _relay(loop: asyncio.AbstractEventLoop, progress: Progress | None) -> Progress:
    def relay(done: int, total: int) -> None:
        if progress is not None:
            loop.call_soon_threadsafe(progress, done, total)

    return relay


def scorer(settings: Settings) -> Worker:
    """The thread that scores."""
    return Worker(
        "score",
        lambda: _limit_torch(settings.threads),
        max_waiting=settings.score_queue,
        busy="Another set is being scored, and scores run one at a time: try again later, or submit this one as a job "
        "(POST /v1/jobs/score).",
    )


def _limit_torch(threads: int) -> None:
    import torch  # late, so that tests of the queue need no torch

    torch.set_num_threads(threads)


def keep_to_the_background() -> None:
    """For a thread that nobody waits for: the lowest priority, and one thread of torch's."""
    with contextlib.suppress(AttributeError, OSError):  # Linux gives each thread a priority; others do not
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
    _limit_torch(1)


def local_perceptual_distance(settings: Settings) -> metrics.PerceptualDistance | None:
    """On the service's device, by the same files; None where they are not there."""
    path = settings.inception_weights or metrics.cached_weights()
    return metrics.perceptual_distance(path).to(settings.device) if path.is_file() else None

"""Dynamic batching without a timer: a batch is whatever queued up while the last one ran.

    submit() ──> queue ──> one worker thread: take items of one key, run, answer each
                             └── the run failed: run its items one by one, so that only the bad one fails

A lone caller waits for nobody, a burst shares forward passes. The queue is bounded, in images and in time: what finds
it full, or would not be done within its deadline behind what waits, is an `OverloadError` at once, with an estimate of
when there will be room. Callers that left (cancelled, past their deadline) are skipped. Several batchers may share one
executor; they take turns, one batch each.

The order is weighted fair queueing with equal weights (Demers, Keshav & Shenker 1989): items run in the order in which
they would be done if the device served all requests at once, a share each. The clock is what each of them would have
been given by then: a batch of 16 images while 4 requests are there moves it by 4. Item k of a request is due at (clock
when the request came) + (size of its items up to k). So one image that comes beside eight requests of 256 runs in the
next batch, because all of theirs that are due before it have run; and because every batch moves the clock, nobody waits
for ever. Start-time fair queueing (Goyal et al. 1996) starts a newcomer at the tag of what is being run instead, which
is simpler; but here every request is a flow of its own, and newcomers without end would all start at one tag, before
the rest of a large request.

Why not BentoML's own adaptive batching: one bad item fails its whole batch there, a burst slows the lone caller
that follows it, and its queue has no bound (measured in benchmarks/serve_speed.py).
"""

import asyncio
import bisect
import contextlib
import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Generic, TypeVar

from models.errors import OverloadError
from service.telemetry import BatchReport

Item = TypeVar("Item")
Result = TypeVar("Result")

_DUE = attrgetter("due")
_FRESH_S = 60.0  # how long a measurement of the device's speed is believed
_log = logging.getLogger("gan")


class Flow:
    """What has one share of the device, whatever it submits: a request.

    Attributes:
        patient: it has no deadline: a job.
        finish: when the last of its items is due, by the batcher's clock.
        coming: what it has been let in for and has not queued yet, in the items' unit.
    """

    def __init__(self, patient: bool = False) -> None:
        self.patient = patient
        self.finish = 0.0
        self.coming = 0


class Key(Generic[Result]):
    """What items must have in common to share a batch: equal keys, by value. A subclass names what comes of an item."""


@dataclass
class _Entry(Generic[Item, Result]):
    key: Key[Result]
    item: Item
    size: int
    tag: object
    flow: Flow
    due: float
    future: "asyncio.Future[Result]"
    loop: asyncio.AbstractEventLoop
    queued_ns: int = field(default_factory=time.time_ns)


class Batcher(Generic[Item]):
    """Gathers items with equal keys into calls of `run(key, items) -> results`, one result for each item.

    Args:
        run: called on the executor's thread, with 1 or more items whose sizes sum to at most `max_size` (an item
            larger than that goes alone).
        executor: a single-thread executor; the batcher never has more than one call in it.
        max_size: the most in one batch, in the items' own unit (images).
        max_queue: the most that may be waiting before an item, in the same unit.
        within_s: what a request has for all of its items; jobs take as long as they take.
        seconds: what one unit takes, as far as is known before the first batch.
        observe: told about every batch, on the executor's thread; what it raises is logged.
    """

    def __init__(
        self,
        run: Callable[[Any, Sequence[Item]], Sequence[Any]],
        executor: Executor,
        *,
        max_size: int,
        max_queue: int,
        within_s: float = math.inf,
        seconds: float = 0.05,
        observe: Callable[[BatchReport], None] | None = None,
    ) -> None:
        self._run = run
        self._executor = executor
        self._max_size = max_size
        self._max_queue = max_queue
        self._within_s = within_s
        self._observe = observe
        self._lock = threading.Lock()
        self._queue: deque[_Entry[Item, Any]] = deque()  # by due
        self._queued = 0
        self._let_in: set[Flow] = set()
        self._clock = 0.0  # what each request would have been given so far, in the items' unit
        self._active = False
        self._seconds_per_unit = seconds  # see _measured
        self._measured_at = -math.inf

    @property
    def max_size(self) -> int:
        """The most in one batch, in the items' unit."""
        return self._max_size

    @property
    def queued(self) -> int:
        """How much waits, in the items' unit; what is being run does not count."""
        return self._queued

    async def submit(
        self, key: Key[Result], item: Item, size: int = 1, tag: object = None, flow: Flow | None = None
    ) -> Result:
        """The result of `item`; whatever `run` raised for it is raised here.

        Args:
            key: only items of equal keys share a batch.
            size: what the item counts for.
            tag: passed on to `observe` (a trace context).
            flow: the request that it belongs to, where that submits more than once.
        Raises:
            OverloadError: the queue is full, or too long for the deadline.
        """
        return await self.submit_all(key, [(item, size)], tag, flow)[0]

    def submit_all(
        self, key: Key[Result], items: Sequence[tuple[Item, int]], tag: object = None, flow: Flow | None = None
    ) -> "list[asyncio.Future[Result]]":
        """Queues all of the items or, where too much would be run before the last of them, none (OverloadError).

        A flow that was let in has been held against the deadline already, with all that it submits.

        What their own request has waiting does not count, so that one larger than the whole queue is not turned away
        for ever; nor does what such a request still waits for count against a small one, which goes first.
        """
        loop = asyncio.get_running_loop()
        flow = flow or Flow()
        with self._lock:
            start = max(self._clock, flow.finish)
            dues = list(itertools.accumulate((size for _, size in items), initial=start))[1:]
            size = sum(size for _, size in items)
            self._check_room(dues[-1], flow, 0 if flow.patient or flow in self._let_in else size)
            flow.finish = dues[-1]
            flow.coming = max(0, flow.coming - size)
            entries: list[_Entry[Item, Result]] = [
                _Entry(key, item, size, tag, flow, due, loop.create_future(), loop)
                for (item, size), due in zip(items, dues, strict=True)
            ]
            for entry in entries:
                bisect.insort(self._queue, entry, key=_DUE)
                self._queued += entry.size
            idle = not self._active
            self._active = True
        if idle:
            self._executor.submit(self._step)
        return [entry.future for entry in entries]

    @contextlib.contextmanager
    def let_in(self, flow: Flow, size: int) -> Iterator[None]:
        """While the block prepares items of `flow`, of so much in all, the room for them is taken.

        Raises the OverloadError that they would meet, before the work of preparing them.
        """
        with self._lock:
            self._check_room(self._clock + size, flow, 0 if flow.patient else size)
            flow.coming = size
            self._let_in.add(flow)
        try:
            yield
        finally:
            with self._lock:
                self._let_in.remove(flow)

    def _check_room(self, due: float, flow: Flow, size: int) -> None:
        """Raises OverloadError for what comes too late behind what is due before `due`.

        `size` is what has to be done within the deadline, 0 where there is none.
        """
        others = self._let_in - {flow}
        everything = self._queued + sum(other.coming for other in others)
        if everything < self._max_queue and self._in_time(everything + size, size):
            return
        self._forget_who_left()
        ahead = sum(entry.size for entry in self._queue if entry.due <= due and entry.flow is not flow)
        for other in others:  # which will be due one after the other, behind what it has queued
            ahead += int(min(other.coming, max(0.0, due - max(self._clock, other.finish))))
        if ahead >= self._max_queue:
            raise OverloadError(
                f"{ahead} images are waiting already, of at most {self._max_queue}; try again later.",
                retry_after_s=ahead * self._seconds_per_unit,
            )
        if self._in_time(ahead + size, size):
            return
        alone, seconds = size * self._seconds_per_unit, (ahead + size) * self._seconds_per_unit
        if self._in_time(size, size):
            said = f"This would be done in some {seconds:,.0f} s, behind what waits already"
            advice = "try again later"
        else:
            said, advice = f"This takes some {alone:,.0f} s", "send less at once"
        raise OverloadError(
            f"{said}, and a request has {self._within_s:g} s: {advice}, or submit a job.",
            retry_after_s=min(seconds - self._within_s, self._within_s),
        )

    def _in_time(self, units: int, size: int) -> bool:
        """So much is done within the deadline of the `size` that is part of it; True where that has none.

        Where nothing was measured of late, twice the time is let pass: the device may have become faster, and would
        never be found out if nobody was let in.
        """
        slack = 1 if time.monotonic() - self._measured_at < _FRESH_S else 2
        return size == 0 or units * self._seconds_per_unit <= slack * self._within_s

    def _measured(self, size: int, seconds: float) -> None:
        """Takes note of what a batch took.

        The estimate is of full batches, of which a request that comes near its deadline has many: a mean in which the
        last `max_size` units count for a tenth. A smaller batch takes longer a unit, so that it says only that the
        estimate is not above its own.
        """
        mean, unit = self._seconds_per_unit, seconds / size
        if size >= self._max_size:
            self._seconds_per_unit = unit + (mean - unit) * 0.9 ** (size / self._max_size)
            self._measured_at = time.monotonic()
        else:
            self._seconds_per_unit = min(mean, unit)

    def _forget_who_left(self) -> None:
        """So that work of callers past their deadline, which nobody will run, turns nobody away."""
        self._queue = deque(entry for entry in self._queue if not entry.future.done())
        self._queued = sum(entry.size for entry in self._queue)

    def _take(self) -> list[_Entry[Item, Any]]:
        """What is due first and what follows it with its key, as far as it fits; the others keep their order."""
        batch: list[_Entry[Item, Any]] = []
        kept: list[_Entry[Item, Any]] = []
        size = 0
        while self._queue:
            entry = self._queue.popleft()
            if entry.future.done():  # the caller left
                self._queued -= entry.size
            elif not batch or (entry.key == batch[0].key and size + entry.size <= self._max_size):
                batch.append(entry)
                size += entry.size
                self._queued -= entry.size
            else:
                kept.append(entry)
            if size >= self._max_size:
                break
        self._queue.extendleft(reversed(kept))
        self._clock += size / max(1, len({entry.flow for entry in (*batch, *self._queue)}))
        return batch

    def _step(self) -> None:
        try:
            self._run_batch()
        except Exception:  # of what comes after the answers: those who wait must not wait for ever
            _log.exception("a batch was answered, and then something went wrong")
        with self._lock:
            self._active = bool(self._queue)
            if not self._active:
                return
        self._executor.submit(self._step)  # at the back, so that batchers on one device take turns

    def _run_batch(self) -> None:
        with self._lock:
            batch = self._take()
        if not batch:
            return
        started = time.time_ns()
        outcomes: list[Any]
        try:
            outcomes = list(self._run(batch[0].key, [entry.item for entry in batch]))
            if len(outcomes) != len(batch):
                raise RuntimeError(f"{len(batch)} items went into a batch, {len(outcomes)} results came out")
        except Exception as error:
            outcomes = [error] if len(batch) == 1 else [self._run_alone(entry) for entry in batch]
        ended = time.time_ns()
        size = sum(entry.size for entry in batch)
        self._measured(size, (ended - started) / 1e9)  # before the answers, so that whoever has one finds it noted
        _deliver(batch, outcomes)
        if self._observe:
            queued, tags = tuple(e.queued_ns for e in batch), tuple(e.tag for e in batch)
            self._observe(BatchReport(size, len(batch), started, ended, self._queued, queued, tags))

    def _run_alone(self, entry: _Entry[Item, Result]) -> Result | BaseException:
        if entry.future.done():  # the caller left meanwhile
            return asyncio.CancelledError()
        try:
            return self._run(entry.key, [entry.item])[0]
        except Exception as error:
            return error


def _deliver(batch: list[_Entry[Item, Result]], outcomes: list[Any]) -> None:
    """Hands the outcomes over to the event loop that waits for them, in one call."""

    def settle() -> None:
        for entry, outcome in zip(batch, outcomes, strict=True):
            if entry.future.done():
                continue
            if isinstance(outcome, BaseException):
                entry.future.set_exception(outcome)
            else:
                entry.future.set_result(outcome)

    batch[0].loop.call_soon_threadsafe(settle)

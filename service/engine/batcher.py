"""Dynamic batching without a timer: a batch is whatever queued up while the last one ran.

    submit() ──> queue ──> one worker thread: take items of one key, run, answer each
                             └── the run failed: run its items one by one, so that only the bad one fails

A lone caller waits for nobody, a burst shares forward passes. The queue is bounded: past it `OverloadError` is
raised at once, with an estimate of when there will be room. Callers that left (cancelled, past their deadline) are
skipped. Several batchers may share one executor; they take turns, one batch each.

A request of many items does not hold up those behind it. Each item is due when it would be run if its request had the
device to itself, told by a clock that counts what has been run; whatever is due first is next. So somebody who asks for
one image waits for a batch or two of somebody's 256, and nobody for ever.

Why not BentoML's own adaptive batching: one bad item fails its whole batch there, a burst slows the lone caller
that follows it, and its queue has no bound (measured in benchmarks/serve_speed.py).
"""

import asyncio
import bisect
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Generic, TypeVar

from models.errors import OverloadError
from service.telemetry import BatchReport

Item = TypeVar("Item")
Result = TypeVar("Result")

_DUE = attrgetter("due")


@dataclass
class _Entry(Generic[Item, Result]):
    key: Hashable
    item: Item
    size: int
    tag: object
    due: int
    future: "asyncio.Future[Result]"
    loop: asyncio.AbstractEventLoop
    queued_ns: int = field(default_factory=time.time_ns)


class Batcher(Generic[Item, Result]):
    """Gathers items with equal keys into calls of `run(key, items) -> results`, one result for each item.

    Args:
        run: called on the executor's thread, with 1 or more items whose sizes sum to at most `max_size` (an item
            larger than that goes alone).
        executor: a single-thread executor; the batcher never has more than one call in it.
        max_size: the most in one batch, in the items' own unit (images).
        max_queue: the most that may be waiting before an item, in the same unit.
        observe: told about every batch, on the executor's thread.
    """

    def __init__(
        self,
        run: Callable[[Hashable, Sequence[Item]], Sequence[Result]],
        executor: Executor,
        *,
        max_size: int,
        max_queue: int,
        observe: Callable[[BatchReport], None] | None = None,
    ) -> None:
        self._run = run
        self._executor = executor
        self._max_size = max_size
        self._max_queue = max_queue
        self._observe = observe
        self._lock = threading.Lock()
        self._queue: deque[_Entry[Item, Result]] = deque()  # by due
        self._queued = 0
        self._taken = 0  # into batches so far, in the items' unit: the clock
        self._active = False
        self._seconds_per_unit = 0.05  # a running mean, for Retry-After

    @property
    def max_size(self) -> int:
        """The most in one batch, in the items' unit."""
        return self._max_size

    @property
    def queued(self) -> int:
        """How much waits, in the items' unit; what is being run does not count."""
        return self._queued

    async def submit(self, key: Hashable, item: Item, size: int = 1, tag: object = None) -> Result:
        """The result of `item`; whatever `run` raised for it is raised here.

        Args:
            key: only items of equal keys share a batch.
            size: what the item counts for.
            tag: passed on to `observe` (a trace context).
        Raises:
            OverloadError: the queue is full.
        """
        return await self.submit_all(key, [(item, size)], tag)[0]

    def submit_all(
        self, key: Hashable, items: Sequence[tuple[Item, int]], tag: object = None
    ) -> "list[asyncio.Future[Result]]":
        """Queues all of the items or, where too much would be run before the last of them, none (OverloadError).

        Their own number does not count, so that a request larger than the whole queue is not turned away for ever; nor
        does what such a request still waits for count against a small one, which goes first.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            dues = list(itertools.accumulate((size for _, size in items[:-1]), initial=self._taken))
            if self._queued >= self._max_queue:
                self._forget_who_left()
                ahead = sum(entry.size for entry in self._queue if entry.due <= dues[-1])
                if ahead >= self._max_queue:
                    raise OverloadError(
                        f"{ahead} images are waiting already, of at most {self._max_queue}; try again later.",
                        retry_after_s=ahead * self._seconds_per_unit,
                    )
            entries: list[_Entry[Item, Result]] = [
                _Entry(key, item, size, tag, due, loop.create_future(), loop)
                for (item, size), due in zip(items, dues, strict=True)
            ]
            for entry in entries:
                bisect.insort(self._queue, entry, key=_DUE)
                self._queued += entry.size
            start = not self._active
            self._active = True
        if start:
            self._executor.submit(self._step)
        return [entry.future for entry in entries]

    def _forget_who_left(self) -> None:
        """So that work of callers past their deadline, which nobody will run, turns nobody away."""
        self._queue = deque(entry for entry in self._queue if not entry.future.done())
        self._queued = sum(entry.size for entry in self._queue)

    def _take(self) -> list[_Entry[Item, Result]]:
        """What is due first and what follows it with its key, as far as it fits; the others keep their order."""
        batch: list[_Entry[Item, Result]] = []
        kept: list[_Entry[Item, Result]] = []
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
        self._taken += size
        return batch

    def _step(self) -> None:
        with self._lock:
            batch = self._take()
        if batch:
            self._run_batch(batch)
        with self._lock:
            self._active = bool(self._queue)
            if not self._active:
                return
        self._executor.submit(self._step)  # at the back, so that batchers on one device take turns

    def _run_batch(self, batch: list[_Entry[Item, Result]]) -> None:
        started = time.time_ns()
        outcomes: list[Result | BaseException]
        try:
            outcomes = list(self._run(batch[0].key, [entry.item for entry in batch]))
            if len(outcomes) != len(batch):
                raise RuntimeError(f"{len(batch)} items went into a batch, {len(outcomes)} results came out")
        except Exception as error:
            outcomes = [error] if len(batch) == 1 else [self._run_alone(entry) for entry in batch]
        ended = time.time_ns()
        _deliver(batch, outcomes)
        size = sum(entry.size for entry in batch)
        self._seconds_per_unit += 0.1 * ((ended - started) / 1e9 / size - self._seconds_per_unit)
        if self._observe:
            queued, tags = tuple(e.queued_ns for e in batch), tuple(e.tag for e in batch)
            self._observe(BatchReport(size, len(batch), started, ended, self._queued, queued, tags))

    def _run_alone(self, entry: _Entry[Item, Result]) -> Result | BaseException:
        try:
            return self._run(entry.key, [entry.item])[0]
        except Exception as error:
            return error


def _deliver(batch: list[_Entry[Item, Result]], outcomes: list[Result | BaseException]) -> None:
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

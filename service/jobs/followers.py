"""Who follows which job. A job is looked at by one for all who follow it here, wherever it runs.

Nothing waits for a follower: what changes while one is busy with the last change is one change to it, so that a slow
one takes no memory.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from models.errors import NotFoundError, OverloadError
from service.jobs.records import Record

_BUSY_RETRY_S = 30.0


class Followers:
    """All followers in this process.

    Args:
        look: gives a job as it is now. Raises NotFoundError, OverloadError.
        pause_s: between two looks at a job.
        most, most_of_one: followers, and those of one caller.
    """

    def __init__(
        self, look: Callable[[str], Awaitable[Record]], *, pause_s: float, most: int, most_of_one: int
    ) -> None:
        self._look = look
        self._pause_s = pause_s
        self._most = most
        self._most_of_one = most_of_one
        self._callers: Counter[str] = Counter()
        self._watches: dict[str, _Watch] = {}

    @property
    def count(self) -> int:
        """How many there are."""
        return self._callers.total()

    async def follow(
        self, record: Record, caller: str, *, beat_s: float, stopping: asyncio.Event
    ) -> AsyncIterator[Record]:
        """The job as `record` has it, and again each time that it has changed, until it is over or gone.

        Args:
            beat_s: seconds after which it comes again unchanged.
            stopping: ends it, too.
        Raises:
            OverloadError: too many follow jobs.
        """
        with self._place(caller), self._watching(record) as watch:
            while True:
                record = watch.record
                yield record
                if stopping.is_set() or (watch.over and watch.record is record):
                    return
                if watch.record is record:
                    await _first_of(watch.changed, stopping, within_s=beat_s)

    def hasten(self, job_id: str) -> None:
        """Looks now: something has become of the job in this process."""
        if (watch := self._watches.get(job_id)) is not None:
            watch.hurry.set()

    @contextlib.contextmanager
    def _place(self, caller: str) -> Iterator[None]:
        if self.count >= self._most or self._callers[caller] >= self._most_of_one:
            raise OverloadError(
                f"Jobs are followed by {self._callers[caller]} of this caller's connections, of at most "
                f"{self._most_of_one}, and by {self.count} of all, of at most {self._most}.",
                retry_after_s=_BUSY_RETRY_S,
            )
        self._callers[caller] += 1
        try:
            yield
        finally:
            self._callers[caller] -= 1
            self._callers += Counter()  # without those of zero

    @contextlib.contextmanager
    def _watching(self, record: Record) -> Iterator["_Watch"]:
        watch = self._watches.setdefault(record.id, _Watch(record))
        watch.tell(record)
        if not watch.followers and not record.over:
            watch.task = asyncio.create_task(self._keep_looking(watch))
        watch.followers += 1
        try:
            yield watch
        finally:
            watch.followers -= 1
            if not watch.followers:
                del self._watches[record.id]
                if watch.task is not None:
                    watch.task.cancel()

    async def _keep_looking(self, watch: "_Watch") -> None:
        while not watch.over:
            await _first_of(watch.hurry, within_s=self._pause_s)
            watch.hurry.clear()
            try:
                watch.tell(await self._look(watch.record.id))
            except OverloadError:  # the queue or the store is away for a while
                continue
            except NotFoundError:  # it was over, and removed, between two looks
                watch.tell(None)


class _Watch:
    """A job that is followed.

    Attributes:
        over: nothing more will become of it.
        changed: set at the next change, after which it is another one.
        hurry: set for a look before its time.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self.over = record.over
        self.changed = asyncio.Event()
        self.hurry = asyncio.Event()
        self.followers = 0
        self.task: asyncio.Task[None] | None = None

    def tell(self, record: Record | None) -> None:
        """The job as it is now; None where it is gone."""
        if record == self.record:
            return
        self.record = record or self.record
        self.over = record is None or record.over
        self.changed.set()
        self.changed = asyncio.Event()


async def _first_of(*events: asyncio.Event, within_s: float) -> None:
    """Waits until one of them is set, or the time is over."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()

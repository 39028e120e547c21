"""SAQ's worker, where it is not as a service needs it: signals, stopping, a queue that is gone."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from saq.queue import Queue
from saq.worker import Worker

_TIMERS = {"schedule": 15, "sweep": 15, "worker_info": 30, "abort": 15}  # seconds
_STOP_TRIES = 30  # of half a second, past the hard deadline of a cancelled job
_log = logging.getLogger("gan")


class SaqWorker(Worker[Any]):
    """One job at a time, without handlers of signals: the server has its own.

    Args:
        run: called for each job that it takes from the queue.
        listen_s: how long it listens before it asks again.
    """

    SIGNALS = []  # noqa: RUF012

    def __init__(self, queue: Queue, run: Callable[[dict[str, Any]], Awaitable[None]], listen_s: float) -> None:
        super().__init__(
            queue,
            [("run", run)],
            concurrency=1,
            timers=_TIMERS,  # type: ignore[arg-type]
            dequeue_timeout=listen_s,
            cancellation_hard_deadline_s=5.0,
        )

    async def stop(self) -> None:
        """SAQ cancels its upkeep once, and waits; redis-py loses that now and then, and the upkeep sleeps on."""
        upkeep = [task for task in self.tasks if task.get_name() != "process"]
        stopping = asyncio.create_task(super().stop())
        for _ in range(_STOP_TRIES):
            if (await asyncio.wait({stopping}, timeout=0.5))[0]:
                return await stopping
            for task in upkeep:
                task.cancel()
        _log.warning("the queue of jobs does not let its worker go; what it was running is begun again elsewhere")
        for task in (stopping, *self.tasks):
            task.cancel()
        return None

    async def process(self) -> bool:
        try:
            return await super().process()
        except Exception as error:  # each driver has its own
            _log.warning("the queue of jobs could not be told how a job ended: %s", type(error).__name__)
            return True

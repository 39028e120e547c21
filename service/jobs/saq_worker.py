"""SAQ's worker, where it is not as a service needs it: signals, stopping, a queue that is gone."""

import asyncio
import logging
from typing import Any

from saq.worker import Worker

_log = logging.getLogger("gan")


class SaqWorker(Worker[Any]):
    """SAQ's, without handlers of signals: the server has its own."""

    SIGNALS = []  # noqa: RUF012

    async def stop(self) -> None:
        """SAQ cancels its upkeep once, and waits; redis-py loses that now and then, and the upkeep sleeps on."""
        upkeep = [task for task in self.tasks if task.get_name() != "process"]
        stopping = asyncio.create_task(super().stop())
        while not (await asyncio.wait({stopping}, timeout=0.5))[0]:
            for task in upkeep:
                task.cancel()
        await stopping

    async def process(self) -> bool:
        try:
            return await super().process()
        except Exception as error:  # each driver has its own
            _log.warning("the queue of jobs could not be told how a job ended: %s", type(error).__name__)
            return True

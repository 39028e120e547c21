"""A queue of SAQ's in this process: what jobs wait in where GAN_JOBS names no server.

SAQ's workers speak to it as to Redis or Postgres. It forgets with the process; what was accepted is in the store, and
is queued again from there.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from saq.job import Job, Status
from saq.queue import Queue
from saq.types import CountKind, QueueInfo, WorkerInfo

_ALL = list(Status)


class LocalQueue(Queue):
    """SAQ's abstract methods, over a dictionary. A job in it is the very object that its worker has."""

    def __init__(self, name: str) -> None:
        super().__init__(name, None, None)
        self._jobs: dict[str, Job] = {}
        self._waiting: asyncio.Queue[Job] = asyncio.Queue()

    async def disconnect(self) -> None:
        pass

    async def count(self, kind: CountKind) -> int:
        statuses = {"queued": {Status.QUEUED}, "active": {Status.ACTIVE}}.get(kind, set(Status))
        return sum(job.status in statuses for job in self._jobs.values())

    async def info(self, jobs: bool = False, offset: int = 0, limit: int = 10) -> QueueInfo:
        queued, active = await self.count("queued"), await self.count("active")
        return {"workers": {}, "name": self.name, "queued": queued, "active": active, "scheduled": 0, "jobs": []}

    async def job(self, job_key: str) -> Job | None:
        return self._jobs.get(job_key)

    async def jobs(self, job_keys: Iterable[str]) -> list[Job | None]:
        return [self._jobs.get(key) for key in job_keys]

    async def iter_jobs(self, statuses: list[Status] = _ALL, batch_size: int = 100) -> AsyncIterator[Job]:
        for job in list(self._jobs.values()):
            if job.status in statuses:
                yield job

    async def dequeue(self, timeout: float = 0.0, poll_interval: float = 0.0) -> Job | None:
        """Waits until there is one, or its worker is stopped."""
        job = await self._waiting.get()
        there = self._jobs.get(job.key) is job and job.status == Status.QUEUED
        return job if there else None  # else it was aborted while it waited

    async def abort(self, job: Job, error: str, ttl: float = 5) -> None:
        job.error = error
        if job.status == Status.QUEUED:
            await self.finish(job, Status.ABORTED, error=error)
        else:
            job.status = Status.ABORTING

    async def sweep(self, lock: int = 60, abort: float = 5.0) -> list[str]:
        return []  # no worker of this queue dies without it

    async def write_worker_info(self, worker_id: str, info: WorkerInfo, ttl: int) -> None:
        pass

    async def _enqueue(self, job: Job) -> Job | None:
        if job.key in self._jobs:
            return None
        self._jobs[job.key] = job
        self._waiting.put_nowait(job)
        return job

    async def _update(self, job: Job, status: Status | None = None, **kwargs: Any) -> None:
        pass  # `job` is a copy; what is looked at has been changed

    async def _retry(self, job: Job, error: str | None) -> None:
        self._jobs[job.key] = job
        asyncio.get_running_loop().call_later(job.next_retry_delay(), self._waiting.put_nowait, job)

    async def _finish(self, job: Job, status: Status, *, result: Any = None, error: str | None = None) -> None:
        if self._jobs.get(job.key) is job:
            del self._jobs[job.key]

"""What keeps jobs in order, every few seconds in each process: nothing accepted is lost, nobody who is to be told of it
is left out, nothing is kept for good."""

import asyncio
import logging
import time
from collections.abc import Collection

from saq.job import Status

from models.errors import OverloadError
from service.jobs.kept import Kept, tries
from service.jobs.queues import Queues
from service.jobs.records import Request
from service.jobs.webhooks import Webhooks
from service.telemetry import Telemetry

_STRAY_S = 86_400.0  # what no request and no result belongs to, or what only another version can read
_ENDED = (Status.COMPLETE, Status.FAILED, Status.ABORTED)
_log = logging.getLogger("gan")


class House:
    """Queues what is unfinished and in no queue, takes jobs from the dead, and removes what was kept long enough.

    Args:
        kinds: of jobs that there is work for; others are another version's, and left alone.
        here: the jobs that this process runs.
        webhooks: tells of jobs that are over.
        keep_s: seconds that a finished job and its result are kept.
        dead_s: seconds without a sign of life after which a job is taken from who runs it.
    """

    def __init__(
        self,
        kept: Kept,
        queues: Queues,
        telemetry: Telemetry,
        kinds: Collection[str],
        here: Collection[str],
        webhooks: Webhooks,
        *,
        keep_s: float,
        dead_s: float,
    ) -> None:
        self._kept = kept
        self._queues = queues
        self._telemetry = telemetry
        self._kinds = kinds
        self._here = here
        self._webhooks = webhooks
        self._keep_s = keep_s
        self._dead_s = dead_s
        self._signs: dict[str, tuple[object, float]] = {}

    async def keep(self) -> None:
        """Until it is cancelled. A queue of this process alone loses nothing: it is filled once, at the start."""
        fill = True
        while True:
            try:
                await self.tidy(fill)
                fill = self._queues.shared
                await self._count()
                if self._queues.shared:
                    await self._queues.stay()
                    await self._free_places()
            except OverloadError as error:
                _log.warning("looking after the jobs: %s", error.message)
            except Exception:
                _log.exception("looking after the jobs failed; trying again in %g s", self._dead_s / 6)
            await asyncio.sleep(self._dead_s / 6)

    async def _count(self) -> None:
        for kind in self._kinds:
            for state, jobs in (await self._queues.counts(kind)).items():
                self._telemetry.jobs.labels(kind, state).set(jobs)

    async def _free_places(self) -> None:
        """Takes from the queue what is over: who ran it died, or the queue was gone, before the two were told."""
        for kind in self._kinds:
            for job in await self._queues.running(kind):
                if job.key not in self._here and await self._kept.request(job.key) is None:
                    await self._queues.ask(job.finish(Status.ABORTED))

    async def tidy(self, fill: bool = True) -> None:
        """Removes what was kept long enough; looks after what is unfinished, if `fill`. Raises OverloadError."""
        unfinished = []
        for job_id, files in (await self._kept.files()).items():
            if (written := files.get(f"{job_id}.result")) is not None:
                if time.time() - written > self._keep_s:
                    await self._kept.remove_files(files)
                    continue
                if f"{job_id}.request" in files:
                    await self._kept.forget_request(job_id)
                if f"{job_id}.callback" in files:
                    self._webhooks.next(job_id, tries(files))
            elif (written := files.get(f"{job_id}.request")) is not None:
                unfinished.append((written, job_id, files))
            elif time.time() - max(files.values()) > _STRAY_S:
                await self._kept.remove_files(files)
        self._signs = {job_id: sign for _, job_id, _ in unfinished if (sign := self._signs.get(job_id))}
        for written, job_id, files in sorted(unfinished):
            request = await self._kept.request(job_id)
            if request is not None and request.kind in self._kinds:
                if fill:
                    await self._look_after(job_id, request)
            elif time.time() - written > _STRAY_S:
                await self._kept.remove_files(files)

    async def _look_after(self, job_id: str, request: Request) -> None:
        """Sees to it that somebody runs this job, or will.

        Who runs it is dead when its signs of life have not changed for a while. They are compared with each other and
        timed by our own clock: others' may go wrong.
        """
        job = await self._queues.job(request.kind, job_id)
        if job is None or job.status in _ENDED:
            await self._queues.enqueue(request.kind, job_id)
            return
        if job.status == Status.QUEUED or job_id in self._here:
            self._signs.pop(job_id, None)
            return
        sign, now = (job.status, job.attempts, job.touched), time.monotonic()
        last, since = self._signs.setdefault(job_id, (sign, now))
        if sign != last:
            self._signs[job_id] = (sign, now)
        elif now - since > self._dead_s:
            _log.warning("job %s: nothing was heard of who runs it for %g s; it is begun again", job_id, self._dead_s)
            del self._signs[job_id]
            await self._queues.ask(job.retry("nothing was heard of who runs it"))

"""The scoring thread: one work at a time, a bounded queue, progress, and works that stop when nobody waits."""

import asyncio
import threading

import pytest

from models.errors import InputError, OverloadError
from service.call import Progress
from service.scoring.worker import Worker


class Slow:
    """Work that reports again and again until it is let go."""

    def __init__(self) -> None:
        self.began, self.go, self.left = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, report: Progress) -> str:
        try:
            while not self.go.is_set():
                report(1, 2)
                self.began.set()
            report(2, 2)
            return threading.current_thread().name
        finally:
            self.left.set()


@pytest.fixture
def scorer() -> Worker:
    return Worker("score", lambda: None, max_waiting=1, busy="Another set is being scored.")


def test_work_runs_on_its_own_thread_and_its_progress_arrives(scorer: Worker) -> None:
    async def main() -> None:
        work, seen = Slow(), []
        task = asyncio.create_task(scorer.run(work, lambda done, total: seen.append((done, total)), patience_s=None))
        await asyncio.to_thread(work.began.wait)
        work.go.set()
        assert (await task).startswith("score")
        await asyncio.sleep(0)
        assert seen[0] == (0, 0)
        assert seen[1] == (1, 2)
        assert seen[-1] == (2, 2)

    asyncio.run(main())
    scorer.close()


def test_requests_past_the_bound_are_turned_away_at_once_and_jobs_wait(scorer: Worker) -> None:
    async def main() -> None:
        work = Slow()
        first = asyncio.create_task(scorer.run(work, patience_s=60.0))
        await asyncio.to_thread(work.began.wait)
        with pytest.raises(OverloadError, match="Another set is being scored"):
            await scorer.run(lambda report: "never", patience_s=0.0)  # not even its turn would come in time
        second = asyncio.create_task(scorer.run(lambda report: "second", patience_s=60.0))
        await asyncio.sleep(0)
        with pytest.raises(OverloadError) as refused:
            await scorer.run(lambda report: "never", patience_s=60.0)
        assert refused.value.retry_after_s > 0
        job = asyncio.create_task(scorer.run(lambda report: "job", patience_s=None))
        await asyncio.sleep(0)
        work.go.set()
        await first
        assert [await second, await job] == ["second", "job"]
        assert await scorer.run(lambda report: "after", patience_s=0.0) == "after"

    asyncio.run(main())
    scorer.close()


def test_work_stops_when_its_caller_leaves(scorer: Worker) -> None:
    async def main() -> None:
        work = Slow()
        task = asyncio.create_task(scorer.run(work, patience_s=None))
        await asyncio.to_thread(work.began.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(work.left.wait)
        assert not work.go.is_set()
        assert await scorer.run(lambda report: "next", patience_s=None) == "next"

    asyncio.run(main())
    scorer.close()


def test_errors_come_through(scorer: Worker) -> None:
    def broken(report: Progress) -> None:
        raise InputError("image 3 is no image.")

    async def main() -> None:
        with pytest.raises(InputError, match="image 3"):
            await scorer.run(broken, patience_s=None)

    asyncio.run(main())
    scorer.close()


def test_closing_stops_what_runs(scorer: Worker) -> None:
    async def main() -> None:
        work = Slow()
        task = asyncio.create_task(scorer.run(work, patience_s=None))
        await asyncio.to_thread(work.began.wait)
        await asyncio.to_thread(scorer.close)
        assert work.left.is_set()
        with pytest.raises(OverloadError, match="going down"):
            await task

    asyncio.run(main())

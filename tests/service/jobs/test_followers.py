"""Followers of jobs, over jobs that a test plays."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest

from models.errors import NotFoundError, OverloadError
from service.jobs.followers import Followers
from service.jobs.records import Record

QUEUED = Record("a", "sample", "queued", "digest", created_at=1.0)
RUNNING = dataclasses.replace(QUEUED, state="running", attempts=1, total=8)
DONE = dataclasses.replace(RUNNING, state="done", done=8)
LONG = 1000.0


class Played:
    """A job, looks at which are counted."""

    def __init__(self) -> None:
        self.now: Record | Exception = QUEUED
        self.looks = 0

    async def look(self, _: str) -> Record:
        self.looks += 1
        if isinstance(self.now, Exception):
            raise self.now
        return self.now

    def followers(self, pause_s: float = 0.001, most: int = 9, most_of_one: int = 9) -> Followers:
        return Followers(self.look, pause_s=pause_s, most=most, most_of_one=most_of_one)


def follow(followers: Followers, stopping: asyncio.Event | None = None, beat_s: float = LONG, caller: str = "me"):  # type: ignore[no-untyped-def]
    return followers.follow(QUEUED, caller, beat_s=beat_s, stopping=stopping or asyncio.Event())


def test_each_change_is_told_until_the_end() -> None:
    async def main() -> None:
        job = Played()
        followers = job.followers()
        told = []
        async for record in follow(followers):
            told.append(record)
            job.now = RUNNING if record == QUEUED else DONE
        assert told == [QUEUED, RUNNING, DONE]
        assert followers.count == 0

    asyncio.run(main())


def test_who_is_slow_is_told_the_newest_and_one_looks_for_all() -> None:
    async def main() -> None:
        job = Played()
        followers = job.followers()
        quick, slow = follow(followers), follow(followers)
        assert await anext(slow) == await anext(quick) == QUEUED
        for done in range(1, 8):
            job.now = dataclasses.replace(RUNNING, done=done)
            assert await anext(quick) == job.now
        assert await anext(slow) == job.now
        before = job.looks
        job.now = DONE
        assert await anext(slow) == await anext(quick) == DONE
        with pytest.raises(StopAsyncIteration):
            await anext(slow)
        assert [record async for record in quick] == []
        assert job.looks == before + 1  # and nobody looks at what is over
        assert [record async for record in followers.follow(DONE, "me", beat_s=LONG, stopping=asyncio.Event())] == [
            DONE
        ]
        assert job.looks == before + 1

    asyncio.run(main())


def test_a_queue_that_is_away_is_waited_for_and_a_job_that_is_gone_ends_it() -> None:
    async def main() -> None:
        job = Played()
        stream = follow(job.followers())
        await anext(stream)
        job.now = OverloadError("away", retry_after_s=1)
        waiting = asyncio.ensure_future(anext(stream))
        before = job.looks
        while job.looks < before + 3:
            await asyncio.sleep(0.001)
        assert not waiting.done()
        job.now = RUNNING
        assert await waiting == RUNNING
        job.now = NotFoundError("gone")
        assert [record async for record in stream] == [RUNNING]

    asyncio.run(main())


def test_a_beat_a_stop_and_a_hint_are_heard() -> None:
    async def main() -> None:
        job, stopping = Played(), asyncio.Event()
        followers = job.followers(pause_s=LONG)
        beating = follow(followers, beat_s=0.001)
        assert [await anext(beating) for _ in range(3)] == [QUEUED] * 3
        await beating.aclose()
        stream = follow(followers, stopping)
        await anext(stream)
        job.now = RUNNING
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        followers.hasten("a")
        followers.hasten("another")
        assert await waiting == RUNNING
        stopping.set()
        assert [record async for record in stream] == []
        assert followers.count == 0

    asyncio.run(main())


def test_places_are_bounded_and_given_back() -> None:
    async def main() -> None:
        followers = Played().followers(most=3, most_of_one=2)
        taken: list[AsyncIterator[Record]] = [follow(followers), follow(followers), follow(followers, caller="you")]
        for one in taken:
            await anext(one)
        with pytest.raises(OverloadError, match="by 0 of this caller"):
            await anext(follow(followers, caller="they"))
        await taken.pop().aclose()  # type: ignore[attr-defined]
        with pytest.raises(OverloadError, match="by 2 of this caller's connections, of at most 2"):
            await anext(follow(followers))
        await anext(follow(followers, caller="they"))
        del taken  # a reader that is dropped between two events
        while followers.count:
            await asyncio.sleep(0)

    asyncio.run(main())

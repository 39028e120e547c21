"""Threads that no caller has all of."""

import asyncio
import threading

import pytest

from service.encoding.shares import SharedThreads


def test_one_caller_does_not_keep_the_last_thread_from_another() -> None:
    """Not by work that nobody waits for any more, either: it cannot be stopped."""
    threads, go_on = SharedThreads(3, "shared"), threading.Event()

    async def test() -> None:
        hostile = [asyncio.create_task(threads.run("a", go_on.wait, 300)) for _ in range(10)]
        await asyncio.sleep(0)
        for one in hostile[:5]:
            one.cancel()
        assert await asyncio.wait_for(threads.run("b", int, "7"), 300) == 7
        go_on.set()
        assert await asyncio.gather(*hostile[5:]) == [True] * 5
        assert await threads.run("a", int, "8") == 8

    asyncio.run(test())
    threads.close()


def test_what_work_raises_is_raised_and_its_share_given_back() -> None:
    threads = SharedThreads(1, "shared")

    async def test() -> None:
        for _ in range(3):
            with pytest.raises(ValueError, match="seven"):
                await threads.run("a", int, "seven")
        threads.close()
        for _ in range(3):
            with pytest.raises(RuntimeError):
                await threads.run("a", int, "7")

    asyncio.run(test())

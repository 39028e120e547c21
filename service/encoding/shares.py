"""Threads that no caller has all of.

A picture in very many pieces takes a second or more until it is refused, and a thread cannot be stopped. Whoever sends
one after the other would keep all threads from everybody else: so one caller has all but one of them at a time, and
waits for its own work before it has another. Where there is only one thread, its turns alone are shared.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakValueDictionary

Result = TypeVar("Result")


class SharedThreads:
    """`threads` of them, called `name`; for one event loop."""

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._most = max(1, threads - 1)
        self._shares = WeakValueDictionary[str, asyncio.Semaphore]()  # of the callers that have work here

    async def run(self, caller: str, function: Callable[..., Result], *arguments: object) -> Result:
        """What the function returns. Work that has begun takes its share to its end, whoever still waits for it."""
        share = self._shares.get(caller)
        if share is None:
            share = self._shares[caller] = asyncio.Semaphore(self._most)
        await share.acquire()
        loop = asyncio.get_running_loop()

        def give_back(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
                loop.call_soon_threadsafe(share.release)

        try:
            running = self._pool.submit(function, *arguments)
        except RuntimeError:  # the pool is closed
            share.release()
            raise
        running.add_done_callback(give_back)
        return await asyncio.wrap_future(running)

    def close(self) -> None:
        """Finishes what runs; what waits is dropped."""
        self._pool.shutdown(cancel_futures=True)

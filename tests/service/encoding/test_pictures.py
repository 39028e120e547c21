"""Encoding in parcels: in order, and left as soon as the caller leaves."""

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from service.encoding import pictures


@pytest.mark.parametrize(("pixels", "parcels"), [(1, 1), (pictures.PARCEL // 2, 3), (2 * pictures.PARCEL, 5)])
def test_parcels_hold_a_million_pixels_and_keep_the_order(pixels: int, parcels: int) -> None:
    calls = 0

    async def beside(work: Callable[..., list[int]], function: Callable[[int], int], items: Sequence[int]) -> list[int]:
        nonlocal calls
        calls += 1
        return work(function, items)

    assert asyncio.run(pictures.each(beside, lambda item: 2 * item, range(5), pixels)) == [0, 2, 4, 6, 8]
    assert calls == parcels


def test_a_caller_who_leaves_is_followed_after_the_parcel_that_runs() -> None:
    begun, go_on = threading.Event(), threading.Event()
    seen: list[int] = []

    def encode(item: int) -> int:
        seen.append(item)
        begun.set()
        assert go_on.wait(60)
        return item

    async def test() -> None:
        task = asyncio.create_task(pictures.each(asyncio.to_thread, encode, range(100), pictures.PARCEL))
        await asyncio.to_thread(begun.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()

    asyncio.run(test())  # which waits for the pool's threads before it returns
    assert seen == [0]

"""The budget of decoded pixels: never more than there are, first come first served, and nothing lost."""

import asyncio

import pytest

from service.encoding.budget import Budget


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_no_more_is_held_than_there_is_and_the_first_come_first() -> None:
    budget, order = Budget(10), list[str]()

    async def holder(name: str, pixels: int, done: asyncio.Event) -> None:
        async with budget.hold(pixels):
            order.append(name)
            await done.wait()

    async def test() -> None:
        first, rest = asyncio.Event(), asyncio.Event()
        tasks = [
            asyncio.create_task(holder("large", 7, first)),
            asyncio.create_task(holder("second", 6, rest)),
            asyncio.create_task(holder("small", 1, rest)),
        ]
        await settle()
        assert order == ["large"]  # the small one would fit, but the second was there before it
        assert budget.free == 3
        first.set()
        await settle()
        assert order == ["large", "second", "small"]
        rest.set()
        await asyncio.gather(*tasks)
        assert budget.free == 10

    asyncio.run(test())


def test_more_than_there_is_has_it_all() -> None:
    async def test() -> None:
        budget = Budget(10)
        async with budget.hold(1000):
            assert budget.free == 0
        assert budget.free == 10

    asyncio.run(test())


def test_who_leaves_while_waiting_holds_nothing_up() -> None:
    budget = Budget(10)

    async def one(pixels: int) -> None:
        async with budget.hold(pixels):
            pass

    async def test() -> None:
        async with budget.hold(10):
            waits, leaves, stays = (asyncio.create_task(one(size)) for size in (4, 10, 3))
            await settle()
            leaves.cancel()
        waits.cancel()  # when it has been given its share, and does not know yet
        await asyncio.gather(waits, leaves, stays, return_exceptions=True)
        assert (waits.cancelled(), leaves.cancelled(), stays.done()) == (True, True, True)
        assert budget.free == 10

    asyncio.run(test())


def test_an_error_gives_back_what_was_held() -> None:
    async def test() -> None:
        budget = Budget(10)
        with pytest.raises(ValueError, match="broken"):
            async with budget.hold(4):
                raise ValueError("broken")
        assert budget.free == 10

    asyncio.run(test())

"""The batcher, with a device thread that the test holds and lets go."""

import asyncio
import threading
from collections.abc import Coroutine, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from models.errors import InputError, OverloadError
from service.engine.batcher import Batcher, Flow
from service.telemetry import BatchReport


class Device:
    """Doubles numbers, keeps the batches it saw, and waits where a test says so."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.free = threading.Event()
        self.free.set()
        self.busy = threading.Event()

    def run(self, key: Hashable, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.busy.set()
        assert self.free.wait(300)
        if any(item < 0 for item in items):
            raise InputError("negative")
        return [2 * item for item in items]


class Stepped(Device):
    """Ends one batch at a time, each when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self._go, self._ended = threading.Semaphore(0), threading.Semaphore(0)

    def run(self, key: Hashable, items: Sequence[int]) -> list[int]:
        self.busy.set()
        assert self._go.acquire(timeout=300)
        try:
            return super().run(key, items)
        finally:
            self._ended.release()

    async def step(self) -> None:
        self._go.release()
        assert await asyncio.to_thread(self._ended.acquire, timeout=300)


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as one:
        yield one


def together(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 500))


async def hold(device: Device, batcher: Batcher[int]) -> "asyncio.Task[int]":
    """Keeps the device busy with the item 0, so that what comes next has to queue."""
    device.free.clear()
    device.busy.clear()
    first = asyncio.create_task(batcher.submit("k", 0))
    await asyncio.to_thread(device.busy.wait, 300)
    return first


async def queued(batcher: Batcher[int], *coroutines: Coroutine[Any, Any, int]) -> "list[asyncio.Task[int]]":
    """Starts them, and returns when all are in the queue."""
    tasks = [asyncio.create_task(one) for one in coroutines]
    await asyncio.sleep(0)
    return tasks


def test_what_queues_while_a_batch_runs_shares_the_next_one(device: Device, executor: ThreadPoolExecutor) -> None:
    batcher = Batcher(device.run, executor, max_size=8, max_queue=100)

    async def test() -> None:
        first = await hold(device, batcher)
        tasks = await queued(batcher, *(batcher.submit("k", item) for item in range(1, 6)))
        device.free.set()
        assert await asyncio.gather(first, *tasks) == [0, 2, 4, 6, 8, 10]

    together(test())
    assert device.batches == [[0], [1, 2, 3, 4, 5]]


def test_a_batch_holds_at_most_max_size_and_the_smallest_go_first(device: Device, executor: ThreadPoolExecutor) -> None:
    batcher = Batcher(device.run, executor, max_size=4, max_queue=100)

    async def test() -> None:
        first = await hold(device, batcher)
        sizes = (2, 1, 2, 9, 1)
        tasks = await queued(batcher, *(batcher.submit("k", i + 1, size) for i, size in enumerate(sizes)))
        device.free.set()
        assert await asyncio.gather(first, *tasks) == [0, 2, 4, 6, 8, 10]

    together(test())
    assert device.batches == [[0], [2, 5, 1], [3], [4]]  # 9 is more than a batch, and goes alone


def test_only_equal_keys_share_a_batch(device: Device, executor: ThreadPoolExecutor) -> None:
    batcher = Batcher(device.run, executor, max_size=8, max_queue=100)

    async def test() -> None:
        first = await hold(device, batcher)
        tasks = await queued(batcher, *(batcher.submit(item % 2, item) for item in range(1, 7)))
        device.free.set()
        await asyncio.gather(first, *tasks)

    together(test())
    assert device.batches == [[0], [1, 3, 5], [2, 4, 6]]


def test_a_request_of_many_items_does_not_hold_up_those_behind_it(device: Device, executor: ThreadPoolExecutor) -> None:
    batcher = Batcher(device.run, executor, max_size=4, max_queue=100)

    async def test() -> None:
        first = await hold(device, batcher)
        many = batcher.submit_all("k", [(item, 4) for item in range(1, 6)])
        late = await queued(batcher, batcher.submit("k", 7), batcher.submit("k", 8))
        device.free.set()
        await asyncio.gather(first, *many, *late)

    together(test())
    assert device.batches == [[0], [7, 8], [1], [2], [3], [4], [5]]  # 7 and 8 would be done before the first four


def test_a_request_larger_than_the_queue_does_not_turn_small_ones_away(
    device: Device, executor: ThreadPoolExecutor
) -> None:
    batcher = Batcher(device.run, executor, max_size=4, max_queue=8)
    many = [(item, 4) for item in range(1, 6)]

    async def test() -> None:
        first = await hold(device, batcher)
        accepted = batcher.submit_all("k", many)
        late = await queued(batcher, batcher.submit("k", 7, 3), batcher.submit("k", 8, 3))
        with pytest.raises(OverloadError):  # all of the first request is before its like
            batcher.submit_all("k", many)
        with pytest.raises(OverloadError):  # 4 + 3 + 3 before a batch
            batcher.submit_all("k", [(9, 4)])
        device.free.set()
        assert await asyncio.gather(first, *late, *accepted) == [0, 14, 16, 2, 4, 6, 8, 10]

    together(test())


def test_one_item_beside_eight_large_requests_is_in_the_next_batch(executor: ThreadPoolExecutor) -> None:
    """Weighted fair queueing: whenever it comes, it is before what eight others want after their next batch."""
    device = Stepped()
    batcher = Batcher(device.run, executor, max_size=16, max_queue=1024)

    async def test() -> None:
        first = asyncio.create_task(batcher.submit("k", 0))
        await asyncio.to_thread(device.busy.wait, 300)
        large = [batcher.submit_all("k", [(100 * one + k, 16) for k in range(8)]) for one in range(1, 9)]
        for item in range(1, 6):
            small = asyncio.create_task(batcher.submit("k", item))
            await asyncio.sleep(0)  # it is in the queue
            for _ in range(3):  # what ran when it came, perhaps one more, and it
                await device.step()
            assert [item] in device.batches
            assert await small == 2 * item
        for _ in range(1 + 8 * 8 + 5 - len(device.batches)):
            await device.step()
        await asyncio.gather(first, *(future for futures in large for future in futures))

    together(test())
    turns = [batch[0] // 100 for batch in device.batches if batch[0] >= 100]
    assert all(sorted(turns[at : at + 8]) == list(range(1, 9)) for at in range(0, 64, 8))  # and they take turns


def test_newcomers_without_end_do_not_hold_up_a_large_request(device: Device, executor: ThreadPoolExecutor) -> None:
    """Two batches of them always wait: each must start later than the one before, though no other request moves."""
    batcher = Batcher(device.run, executor, max_size=4, max_queue=1024)
    rounds = 40

    async def again_and_again(item: int) -> None:
        for _ in range(rounds):
            await batcher.submit("k", item)

    async def test() -> None:
        first = await hold(device, batcher)
        large = asyncio.gather(*batcher.submit_all("k", [(item, 4) for item in (100, 101)]))
        others = [asyncio.create_task(again_and_again(item)) for item in range(1, 10)]
        await asyncio.sleep(0)
        device.free.set()
        await large
        assert not all(other.done() for other in others)
        await asyncio.gather(first, *others)

    together(test())
    assert device.batches.index([101]) < 9 * rounds // 4  # a tenth of what runs is its share


def test_what_has_been_let_in_counts_before_it_is_queued(device: Device, executor: ThreadPoolExecutor) -> None:
    batcher = Batcher(device.run, executor, max_size=4, max_queue=8)

    async def test() -> None:
        large = Flow()
        with batcher.let_in(large, 20):  # larger than the queue, and alone
            with pytest.raises(OverloadError), batcher.let_in(Flow(), 8):
                pytest.fail("8 of the large one's would be before these")
            with batcher.let_in(Flow(), 7):  # 7 of them before these
                pass
            first = await hold(device, batcher)
            queued = batcher.submit_all("k", [(item, 4) for item in range(1, 6)], flow=large)  # its own does not count
            with pytest.raises(OverloadError), batcher.let_in(Flow(), 8):
                pytest.fail("now they are in the queue")
            device.free.set()
            await asyncio.gather(first, *queued)
        with batcher.let_in(Flow(), 100):
            pass

    together(test())


def test_what_cannot_be_done_in_time_is_not_begun(device: Device, executor: ThreadPoolExecutor) -> None:
    batcher = Batcher(device.run, executor, max_size=4, max_queue=100, within_s=10, seconds=2)
    with batcher.let_in(Flow(), 10):  # 20 s, as far as is known, which was not measured yet
        pass
    with pytest.raises(OverloadError, match=r"22 s, and a request has 10 s: send less at once, or submit a job"):
        batcher.let_in(Flow(), 11).__enter__()

    async def test() -> None:
        await batcher.submit("k", 1, size=4)  # at once, which takes the 2 s an image to 1.8
        with batcher.let_in(Flow(), 5):
            pass
        with pytest.raises(OverloadError, match=r"11 s"), batcher.let_in(Flow(), 6):
            pass
        with pytest.raises(OverloadError, match=r"11 s"):
            batcher.submit_all("k", [(1, 6)])
        job = Flow(patient=True)
        with batcher.let_in(job, 6):
            await batcher.submit("k", 1, size=6, flow=job)

    together(test())


def test_what_would_be_late_behind_others_is_turned_away(device: Device, executor: ThreadPoolExecutor) -> None:
    """At the door, and not after it has waited for its deadline; what is due before the others is not late."""
    batcher = Batcher(device.run, executor, max_size=1, max_queue=100, within_s=10, seconds=2)

    async def test() -> None:
        await batcher.submit("k", 1)
        first = await hold(device, batcher)
        waiting = await queued(batcher, batcher.submit("k", 1, size=3))  # nine tenths of 2 s each
        with pytest.raises(OverloadError, match=r"11 s, behind what waits already.*later") as caught:
            batcher.submit_all("k", [(2, 3)])
        assert 0 < caught.value.retry_after_s < 2
        with batcher.let_in(Flow(), 2):
            pass
        device.free.set()
        await asyncio.gather(first, *waiting)

    together(test())


def test_what_was_let_in_is_not_turned_away_later(device: Device, executor: ThreadPoolExecutor) -> None:
    batcher = Batcher(device.run, executor, max_size=1, max_queue=100, within_s=10, seconds=2)

    async def test() -> None:
        flow = Flow()
        with batcher.let_in(flow, 10):
            await batcher.submit("k", 1)  # now the speed is known, and so is that 10 of them are late
            await asyncio.gather(*batcher.submit_all("k", [(item, 1) for item in range(10)], flow=flow))

    together(test())


def test_small_batches_make_no_large_one_late(device: Device, executor: ThreadPoolExecutor) -> None:
    """They take longer an image: what they took is no reason to turn anyone away."""
    batcher = Batcher(device.run, executor, max_size=100, max_queue=100, within_s=1e-5, seconds=1e-9)

    async def test() -> None:
        await batcher.submit("k", 1)  # more than a microsecond
        with batcher.let_in(Flow(), 100):
            pass

    together(test())


def test_what_one_request_submits_has_one_share(device: Device, executor: ThreadPoolExecutor) -> None:
    batcher = Batcher(device.run, executor, max_size=1, max_queue=100)

    async def test() -> None:
        first = await hold(device, batcher)
        flow = Flow()
        many = await queued(batcher, *(batcher.submit("k", item, flow=flow) for item in (1, 2, 3)))
        other = await queued(batcher, batcher.submit("k", 11), batcher.submit("k", 12))
        device.free.set()
        await asyncio.gather(first, *many, *other)

    together(test())
    assert device.batches == [[0], [1], [11], [12], [2], [3]]


def test_an_observer_that_fails_stops_nothing(
    device: Device, executor: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    def observe(report: BatchReport) -> None:
        raise RuntimeError("no room for a metric")

    batcher = Batcher(device.run, executor, max_size=1, max_queue=100, observe=observe)

    async def test() -> None:
        first = await hold(device, batcher)
        tasks = await queued(batcher, *(batcher.submit("k", item) for item in (1, 2)))
        device.free.set()
        assert await asyncio.gather(first, *tasks) == [0, 2, 4]

    together(test())
    executor.shutdown()
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["no room for a metric"] * 3


def test_who_left_while_a_batch_failed_is_not_run_alone(executor: ThreadPoolExecutor) -> None:
    ran: list[list[int]] = []
    failing, fail = threading.Event(), threading.Event()

    def run(_: Hashable, items: Sequence[int]) -> list[int]:
        ran.append(list(items))
        if len(items) == 1:
            return list(items)
        failing.set()
        assert fail.wait(300)
        raise InputError("together they are too much")

    batcher = Batcher(run, executor, max_size=8, max_queue=100)

    async def test() -> None:
        stays, leaves = batcher.submit_all("k", [(1, 1), (2, 1)])
        await asyncio.to_thread(failing.wait, 300)
        leaves.cancel()
        fail.set()
        assert await stays == 1

    together(test())
    executor.shutdown()
    assert ran == [[1, 2], [1]]


def test_those_who_come_later_do_not_hold_up_a_request_of_many_items(
    device: Device, executor: ThreadPoolExecutor
) -> None:
    batcher = Batcher(device.run, executor, max_size=4, max_queue=1000)

    async def again_and_again(item: int) -> None:
        for _ in range(20):
            await batcher.submit("k", item)

    async def test() -> None:
        first = await hold(device, batcher)
        others = [asyncio.create_task(again_and_again(item)) for item in range(11, 15)]
        many = batcher.submit_all("k", [(item, 4) for item in range(1, 6)])
        device.free.set()
        await asyncio.gather(first, *many, *others)

    together(test())
    turns = [index for index, batch in enumerate(device.batches) if batch[0] in range(1, 6)]
    assert len(turns) == 5
    assert turns[2] < 16  # though four callers, a whole batch, never cease to come: a fifth is its share


def test_one_bad_item_fails_alone(device: Device, executor: ThreadPoolExecutor) -> None:
    batcher = Batcher(device.run, executor, max_size=8, max_queue=100)

    async def test() -> None:
        first = await hold(device, batcher)
        tasks = await queued(batcher, *(batcher.submit("k", item) for item in (1, -2, 3)))
        device.free.set()
        await first
        good, bad, also_good = await asyncio.gather(*tasks, return_exceptions=True)
        assert (good, also_good) == (2, 6)
        assert isinstance(bad, InputError)

    together(test())


def test_a_full_queue_turns_away_at_once_and_says_when_to_return(device: Device, executor: ThreadPoolExecutor) -> None:
    batcher = Batcher(device.run, executor, max_size=2, max_queue=3)

    async def test() -> None:
        first = await hold(device, batcher)
        tasks = await queued(batcher, *(batcher.submit("k", item) for item in (1, 2, 3)))
        with pytest.raises(OverloadError) as caught:
            await batcher.submit("k", 4)
        assert caught.value.retry_after_s > 0
        assert not device.free.is_set()  # it did not wait for the device
        device.free.set()
        assert await asyncio.gather(first, *tasks) == [0, 2, 4, 6]

    together(test())


def test_callers_that_left_are_skipped(device: Device, executor: ThreadPoolExecutor) -> None:
    batcher = Batcher(device.run, executor, max_size=8, max_queue=100)

    async def test() -> None:
        first = await hold(device, batcher)
        tasks = await queued(batcher, *(batcher.submit("k", item) for item in (1, 2, 3)))
        tasks[1].cancel()
        await asyncio.sleep(0)
        device.free.set()
        assert await asyncio.gather(first, tasks[0], tasks[2]) == [0, 2, 6]
        assert batcher.queued == 0

    together(test())
    assert device.batches == [[0], [1, 3]]


def test_work_of_callers_that_left_turns_nobody_away(device: Device, executor: ThreadPoolExecutor) -> None:
    batcher = Batcher(device.run, executor, max_size=8, max_queue=3)

    async def test() -> None:
        first = await hold(device, batcher)
        gone = await queued(batcher, *(batcher.submit("k", item) for item in (1, 2)))
        stays = await queued(batcher, batcher.submit("k", 3))
        for task in gone:
            task.cancel()
        await asyncio.sleep(0)
        later = await queued(batcher, batcher.submit("k", 4))
        assert batcher.queued == 2
        device.free.set()
        assert await asyncio.gather(first, *stays, *later) == [0, 6, 8]

    together(test())
    assert device.batches == [[0], [3, 4]]


def test_batchers_on_one_device_take_turns(device: Device, executor: ThreadPoolExecutor) -> None:
    here = Batcher(device.run, executor, max_size=1, max_queue=100)
    there = Batcher(device.run, executor, max_size=1, max_queue=100)

    async def test() -> None:
        first = await hold(device, here)
        some = await queued(here, here.submit("k", 1), here.submit("k", 2))
        others = await queued(there, there.submit("k", 11), there.submit("k", 12))
        device.free.set()
        await asyncio.gather(first, *some, *others)

    together(test())
    assert sorted(device.batches[1:3]) == [[1], [11]]
    assert sorted(device.batches[3:5]) == [[2], [12]]


def test_the_observer_sees_every_batch(device: Device, executor: ThreadPoolExecutor) -> None:
    reports: list[Any] = []
    batcher = Batcher(device.run, executor, max_size=8, max_queue=100, observe=reports.append)

    async def test() -> None:
        first = await hold(device, batcher)
        tasks = await queued(batcher, batcher.submit("k", 1, 2, "a"), batcher.submit("k", 2, 3, "b"))
        device.free.set()
        await asyncio.gather(first, *tasks)

    together(test())
    executor.shutdown()
    assert [(one.size, one.items, one.tags) for one in reports] == [(1, 1, (None,)), (5, 2, ("a", "b"))]
    assert all(one.started_ns <= one.ended_ns for one in reports)
    assert all(queued_ns <= reports[1].started_ns for queued_ns in reports[1].queued_ns)

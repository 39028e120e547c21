"""Work beside the event loop: in slices, so that everybody has a turn and who leaves is followed."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from service.call import Call
from service.runtime import Runtime
from service.settings import Settings

JOB = Call(is_job=True, progress=lambda done, total: None)


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(Settings(models=(tmp_path,), store=tmp_path / "store", encode_threads=1))


def test_each_keeps_the_order(runtime: Runtime) -> None:
    assert asyncio.run(runtime.each(Call(), lambda item: 2 * item, range(1000))) == list(range(0, 2000, 2))
    assert asyncio.run(runtime.each(Call(), str, [])) == []


def test_who_leaves_is_followed_after_the_slice_that_runs(runtime: Runtime) -> None:
    begun, go_on = threading.Event(), threading.Event()
    seen: list[int] = []

    def work(item: int) -> None:
        seen.append(item)
        begun.set()
        assert go_on.wait(60)
        time.sleep(0.05)  # longer than a slice

    async def test() -> None:
        task = asyncio.create_task(runtime.each(Call(), work, range(100)))
        await asyncio.to_thread(begun.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        await runtime.beside_the_loop(Call(), int)  # the only thread is free again

    asyncio.run(test())
    assert seen == [0]


def test_others_have_their_turn_between_slices(runtime: Runtime) -> None:
    finished: list[str] = []

    async def run(name: str, count: int) -> None:
        await runtime.each(Call(), lambda _: time.sleep(0.03), range(count))
        finished.append(name)

    async def test() -> None:
        await asyncio.gather(run("large", 20), run("small", 1))

    asyncio.run(test())
    assert finished == ["small", "large"]


def test_jobs_have_threads_of_their_own(runtime: Runtime) -> None:
    def name() -> str:
        return threading.current_thread().name

    async def test() -> tuple[str, str]:
        return await runtime.beside_the_loop(Call(), name), await runtime.beside_the_loop(JOB, name)

    request, job = asyncio.run(test())
    assert request.rpartition("_")[0] != job.rpartition("_")[0]

"""Jobs, the same contract over each kind of queue: in this process, on Redis, on Postgres."""

import asyncio
import contextlib
import gc
import json
import time
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from saq.job import Status

from models.errors import ConflictError, InputError, NotFoundError, OverloadError
from service.call import Answer, Progress
from service.jobs import attempt as attempts
from service.jobs import queues, saq_worker
from service.jobs.jobs import Jobs, UnreadableError
from service.jobs.kept import Kept
from service.jobs.records import Attempt, Record
from service.storage import FolderStore
from tests.service.servers import Server, postgres_server, redis_server

OK = Answer(b"done", "text/plain", {"X-Seeds": "1"})
QUEUES = ("this process", "redis", "postgres")
ANSWER_S = queues._ANSWER_S


class Work:
    """A runner that waits to be let go."""

    def __init__(self, answer: Answer = OK, go: bool = False) -> None:
        self.answer = answer
        self.go = asyncio.Event()
        self.began = asyncio.Event()
        self.asked: list[tuple[bytes, int]] = []
        self.cancelled = 0
        if go:
            self.go.set()

    async def __call__(self, payload: bytes, seed: int, progress: Progress, spool: BinaryIO) -> Answer:
        self.asked.append((payload, seed))
        progress(0, 4)
        progress(1, 4)
        self.began.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.answer


@pytest.fixture(autouse=True)
def lost_connections() -> Iterator[None]:
    """redis-py loses a connection now and then where a client that listens is cancelled; no other test shall pay."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """Each started when it is first asked for."""
    started: dict[str, Server] = {}
    with contextlib.ExitStack() as stack:

        def start(name: str) -> Server:
            if name not in started:
                make = {"redis": redis_server, "postgres": postgres_server}[name]
                started[name] = stack.enter_context(make(tmp_path_factory.mktemp(name)))
            return started[name]

        yield start


@pytest.fixture(params=QUEUES)
def url(request: pytest.FixtureRequest, servers: Callable[[str], Server]) -> str | None:
    if request.param == "this process":
        return None
    server = servers(request.param)
    server.forget()
    return server.url


@pytest.fixture(params=QUEUES[1:])
def shared_url(request: pytest.FixtureRequest, servers: Callable[[str], Server]) -> str:
    """Of a queue for several processes."""
    server = servers(request.param)
    server.forget()
    return server.url


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take its time to answer; the test of a server that gives none sets this back."""
    monkeypatch.setattr(queues, "_ANSWER_S", 60.0)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


@contextlib.asynccontextmanager
async def running(
    store: FolderStore, url: str | None, work: Work, *, start: bool = True, **options: float
) -> AsyncIterator[Jobs]:
    """A replica: it answers, and works from `start` on."""
    jobs = Jobs(store, url, **options)  # type: ignore[arg-type]
    jobs.register("score", work)
    await jobs.connect()
    if start:
        await jobs.start()
    try:
        yield jobs
    finally:
        await jobs.stop()


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await true():
            await asyncio.sleep(0.01)


async def over(jobs: Jobs, job_id: str) -> Record:
    async def is_over() -> bool:
        return (await jobs.get(job_id)).over

    await until(is_over)
    return await jobs.get(job_id)


async def files(store: FolderStore) -> list[str]:
    """What is kept of jobs, by suffix."""
    return sorted(name.rpartition(".")[2] for name in await store.names("jobs"))


def test_a_job_goes_through_its_states_and_keeps_its_result(store: FolderStore, url: str | None) -> None:
    async def main() -> None:
        work = Work()
        async with running(store, url, work, dead_s=3) as jobs:
            record = await jobs.submit("score", b"asked")
            assert record.state == "queued"
            await work.began.wait()

            async def is_told() -> bool:
                now = await jobs.get(record.id)
                return (now.state, now.done, now.total) == ("running", 1, 4) and now.seconds_left is not None

            await until(is_told)
            with pytest.raises(ConflictError, match="is running and has no result"):
                await jobs.result(record.id)
            work.go.set()
            done = await over(jobs, record.id)
            assert (done.state, done.done, done.seconds_left, done.attempts) == ("done", 1, None, 1)
            assert await jobs.result(record.id) == OK
            assert [payload for payload, _ in work.asked] == [b"asked"]

            async def is_tidy() -> bool:
                return await files(store) == ["body", "json", "result"]  # the request is gone

            await until(is_tidy)
        async with running(store, url, Work()) as later:
            assert await later.result(record.id) == OK

    asyncio.run(main())


def test_an_error_is_a_result_too(store: FolderStore, url: str | None) -> None:
    async def main() -> None:
        async with running(store, url, Work(Answer(b"broken", status=422), go=True)) as jobs:
            record = await jobs.submit("score", b"")
            assert (await over(jobs, record.id)).state == "failed"
            assert (await jobs.result(record.id)).status == 422

    asyncio.run(main())


def test_one_of_a_kind_runs_at_a_time_in_order_and_the_waiting_are_bounded(store: FolderStore, url: str | None) -> None:
    async def main() -> None:
        work = Work()
        async with running(store, url, work, max_waiting=2) as jobs:
            first, second = await jobs.submit("score", b"1"), await jobs.submit("score", b"2")
            await work.began.wait()
            assert (await jobs.get(second.id)).state == "queued"
            with pytest.raises(OverloadError) as refused:
                await jobs.submit("score", b"3")
            assert refused.value.retry_after_s >= 0
            assert len(await store.names("jobs")) == 5  # two requests and payloads, one attempt
            work.go.set()
            await over(jobs, first.id)
            await over(jobs, second.id)
            assert [payload for payload, _ in work.asked] == [b"1", b"2"]

    asyncio.run(main())


@pytest.mark.parametrize("is_running", [True, False])
def test_cancel_stops_running_and_waiting_jobs(store: FolderStore, url: str | None, is_running: bool) -> None:
    async def main() -> None:
        work = Work()
        async with running(store, url, work, start=is_running) as jobs:
            record = await jobs.submit("score", b"1")
            if is_running:
                await work.began.wait()
            assert (await jobs.delete(record.id)).state == "cancelled"
            assert work.cancelled == is_running
            assert await jobs._queues.count() == 0
            with pytest.raises(ConflictError, match="cancelled and has no result"):
                await jobs.result(record.id)
            assert (await jobs.delete(record.id)).state == "cancelled"  # over: removed now
            with pytest.raises(NotFoundError):
                await jobs.get(record.id)
            assert await store.names("jobs") == {}
            work.go.set()
            other = await jobs.submit("score", b"2")
            if is_running:
                await over(jobs, other.id)

    asyncio.run(main())


def test_the_same_key_finds_the_same_job(store: FolderStore, url: str | None) -> None:
    async def main() -> None:
        work = Work()
        async with running(store, url, work) as jobs:
            one, two = await asyncio.gather(jobs.submit("score", b"1", "key"), jobs.submit("score", b"1", "key"))
            other = await jobs.submit("score", b"1", "other")
            assert one.id == two.id != other.id
            with pytest.raises(ConflictError, match="Idempotency-Key was used"):
                await jobs.submit("score", b"2", "key")
            assert (await jobs.submit("score", b"2", "key", "someone else")).id != one.id
            work.go.set()
            await over(jobs, one.id)
            assert (await jobs.submit("score", b"1", "key")).state == "done"
            for bad in ("", "a b", "ä", "x" * 256, "a\n"):
                with pytest.raises(InputError, match="Idempotency-Key must be"):
                    await jobs.submit("score", b"1", bad)
        async with running(store, url, Work()) as restarted:
            assert (await restarted.submit("score", b"1", "key")).id == one.id
        elsewhere = Jobs(FolderStore(store._root / "other"), None)
        assert await elsewhere._owners.job_id("", "key") != one.id  # not to be guessed from the key

    asyncio.run(main())


def test_a_stop_hands_the_job_back_and_whoever_works_next_draws_the_same(store: FolderStore, url: str | None) -> None:
    async def main() -> None:
        work, again = Work(), Work(go=True)
        async with running(store, url, work) as jobs:
            record = await jobs.submit("score", b"1")
            await work.began.wait()
        assert work.cancelled == 1
        async with running(store, url, again, start=False) as later:
            assert (await later.get(record.id)).state == "queued"
            await later.start()
            done = await over(later, record.id)
            assert (done.state, done.attempts) == ("done", 1)  # a stop is no crash
        assert again.asked == work.asked

    asyncio.run(main())


async def abandoned(store: FolderStore, attempts: int) -> str:
    """A job as a process that was killed while running it leaves it, its queue gone with it; gives its id."""
    async with running(store, None, Work(), start=False) as crashed:
        record = await crashed.submit("score", b"1")
    if attempts:
        await store.put("jobs", f"{record.id}.json", Attempt(attempts, "somebody", time.time()).dump())
    return record.id


@pytest.mark.parametrize(
    ("attempts", "state"), [(0, "done"), (2, "done"), (3, "interrupted")], ids=["fresh", "twice", "three times"]
)
def test_what_no_queue_knows_is_found_in_the_store(
    store: FolderStore, url: str | None, attempts: int, state: str
) -> None:
    async def main() -> None:
        job_id = await abandoned(store, attempts)
        async with running(store, url, Work(go=True)) as jobs:
            final = await over(jobs, job_id)
            assert (final.state, final.attempts) == (state, min(attempts + 1, 3))
            if state == "interrupted":
                with pytest.raises(ConflictError, match="interrupted and has no result"):
                    await jobs.result(job_id)

    asyncio.run(main())


def test_an_attempt_that_is_taken_over_stops_and_one_of_the_dead_is_begun_again(
    store: FolderStore, shared_url: str
) -> None:
    async def main() -> None:
        work = Work()
        async with running(store, shared_url, work, dead_s=1.5) as jobs:
            record = await jobs.submit("score", b"1")
            await work.began.wait()
            await Kept(store).begin(record.id, 2)  # another process, which dies at once

            async def has_stopped() -> bool:
                return work.cancelled == 1

            await until(has_stopped)
            view = await jobs.get(record.id)
            assert (view.state, view.attempts) == ("running", 2)  # as far as anybody knows
            work.go.set()
            done = await over(jobs, record.id)
            assert (done.state, done.attempts) == ("done", 3)
        assert len(set(work.asked)) == 1

    asyncio.run(main())


def test_another_process_s_cancel_is_final_and_reaches_who_runs_it(store: FolderStore, shared_url: str) -> None:
    async def main() -> None:
        work = Work()
        async with (
            running(store, shared_url, work, dead_s=1.5) as one,
            running(store, shared_url, Work(), start=False) as elsewhere,
        ):
            record = await one.submit("score", b"1")
            await work.began.wait()
            assert (await elsewhere.delete(record.id)).state == "cancelled"
            assert (await one.get(record.id)).state == "cancelled"

            async def is_stopped() -> bool:
                return work.cancelled == 1

            await until(is_stopped)
            assert (await one.get(record.id)).state == "cancelled"
            work.go.set()
            assert (await over(one, (await one.submit("score", b"2")).id)).state == "done"  # its worker is free

    asyncio.run(main())


def test_keys_sent_to_two_processes_at_once_are_one_job(store: FolderStore, shared_url: str) -> None:
    async def main() -> None:
        work = Work(go=True)
        async with running(store, shared_url, work) as one, running(store, shared_url, work) as two:
            for index in range(8):
                pair = await asyncio.gather(*(jobs.submit("score", b"1", f"key-{index}") for jobs in (one, two)))
                assert pair[0].id == pair[1].id
                await over(one, pair[0].id)
                assert await one.result(pair[0].id) == await two.result(pair[0].id)
            seeds = [seed for _, seed in work.asked]
            assert len(set(seeds)) == 8

    asyncio.run(main())


def test_a_queue_that_lost_everything_is_filled_again(
    store: FolderStore, shared_url: str, servers: Callable[[str], Server]
) -> None:
    async def main() -> None:
        server = servers(shared_url.partition(":")[0])
        async with running(store, shared_url, Work(go=True), dead_s=1.5, start=False) as jobs:
            records = [await jobs.submit("score", bytes([index])) for index in range(3)]
            await asyncio.to_thread(server.forget)
            assert await jobs._queues.count() == 0
            await jobs.start()
            assert [(await over(jobs, record.id)).state for record in records] == ["done"] * 3

    asyncio.run(main())


def test_a_job_that_is_over_takes_no_place_in_the_queue(store: FolderStore, shared_url: str) -> None:
    async def main() -> None:
        async with running(store, shared_url, Work(), dead_s=1.5, start=False) as jobs:
            await jobs._queues.enqueue("score", "a" * 32)
            job = await jobs._queues.job("score", "a" * 32)
            assert job is not None
            await job.update(status=Status.ACTIVE)  # by somebody who kept its result, and died
            assert await jobs._queues.count() == 1

            async def is_free() -> bool:
                return await jobs._queues.count() == 0

            keeping = asyncio.create_task(jobs.house.keep())
            await until(is_free)
            keeping.cancel()

    asyncio.run(main())


def test_a_queue_that_does_not_answer_is_said_within_two_seconds_and_loses_nothing(
    store: FolderStore, shared_url: str, servers: Callable[[str], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "_ANSWER_S", ANSWER_S)

    async def main() -> None:
        server, work = servers(shared_url.partition(":")[0]), Work()
        async with running(store, shared_url, work, dead_s=30) as jobs:
            record = await jobs.submit("score", b"1")
            await work.began.wait()
            with server.frozen():
                for ask in (lambda: jobs.submit("score", b"2"), lambda: jobs.get(record.id)):
                    async with asyncio.timeout(2):
                        with pytest.raises(OverloadError, match="queue of jobs does not answer"):
                            await ask()
                work.go.set()

                async def is_kept() -> bool:
                    return f"{record.id}.result" in await store.names("jobs")

                await until(is_kept)
            done = await over(jobs, record.id)
            assert (done.state, done.attempts) == ("done", 1)
            assert (await over(jobs, (await jobs.submit("score", b"3")).id)).state == "done"
        assert [payload for payload, _ in work.asked] == [b"1", b"3"]

    asyncio.run(main())


def test_finished_jobs_are_removed_by_age_and_never_by_number(store: FolderStore) -> None:
    async def main() -> None:
        async with running(store, None, Work(go=True)) as jobs:
            records = await asyncio.gather(*(jobs.submit("score", bytes([index])) for index in range(20)))
            for record in records:
                await over(jobs, record.id)
            await jobs.house.tidy()

            async def is_all_that_is_left() -> bool:  # the requests go a moment after the results have come
                return Counter(await files(store)) == dict.fromkeys(("body", "json", "result"), 20)

            await until(is_all_that_is_left)
        async with running(store, None, Work(), keep_s=0.0) as later:

            async def is_empty() -> bool:
                return await store.names("jobs") == {}

            await until(is_empty)
            with pytest.raises(NotFoundError):
                await later.get(records[0].id)

    asyncio.run(main())


@pytest.mark.parametrize("job_id", ["", "x", "../../etc/passwd", "A" * 32, "0" * 31, "0" * 32, "0" * 32 + "\n"])
def test_unknown_and_hostile_ids_are_not_found(store: FolderStore, job_id: str) -> None:
    async def main() -> None:
        async with running(store, None, Work(), start=False) as jobs:
            for call in (jobs.get, jobs.result, jobs.delete):
                with pytest.raises(NotFoundError, match="There is no"):
                    await call(job_id)

    asyncio.run(main())


class FullStore(FolderStore):
    """Takes nothing while it is full."""

    full = True

    async def put(self, section: str, name: str, data: bytes | BinaryIO, media_type: str = "") -> None:
        if self.full:
            raise OverloadError("The store is full.", retry_after_s=60.0)
        await super().put(section, name, data)

    async def create(self, section: str, name: str, data: bytes) -> None:
        await self.put(section, name, data)


def test_a_full_store_is_said_keeps_nothing_of_the_refused_and_is_tidied(tmp_path: Path) -> None:
    async def main() -> None:
        store = FullStore(tmp_path)
        store.full = False
        async with running(store, None, Work(go=True)) as jobs:
            old = await jobs.submit("score", b"old")
            await over(jobs, old.id)
        work = Work(go=True)
        lost = await abandoned(store, 1)
        store.full = True
        async with running(store, None, work, keep_s=0.0) as jobs:
            with pytest.raises(OverloadError, match="full"):
                await jobs.submit("score", b"new", "key")

            async def is_tidied() -> bool:
                return f"{old.id}.result" not in await store.names("jobs")

            await until(is_tidied)
            assert sorted(await store.names("jobs")) == sorted(
                name for name in await store.names("jobs") if name.startswith(lost)
            )
            assert not (await jobs.get(lost)).over
        async with running(store, None, work) as jobs:  # it stops and starts while it is full, too
            store.full = False
            assert (await over(jobs, lost)).state == "done"
        assert len(work.asked) == 1

    asyncio.run(main())


def test_a_result_waits_for_room_without_being_computed_again(tmp_path: Path) -> None:
    async def main() -> None:
        store, work = FullStore(tmp_path), Work()
        store.full = False
        async with running(store, None, work) as jobs:
            record = await jobs.submit("score", b"1")
            await work.began.wait()
            store.full = True
            work.go.set()
            await asyncio.sleep(0)
            store.full = False
            assert (await over(jobs, record.id)).state == "done"
        assert len(work.asked) == 1

    asyncio.run(main())


def test_files_that_cannot_be_read_are_left_alone(store: FolderStore) -> None:
    async def main() -> None:
        odd = {f"{'a' * 32}.json": b"{}", f"{'b' * 32}.request": b"not json", f"{'c' * 32}.request": b'{"kind": "x"}'}
        for name, data in odd.items():
            await store.put("jobs", name, data)
        (store._root / "jobs" / "\udcff").write_bytes(b"a name that is not UTF-8")
        async with running(store, None, Work(go=True), keep_s=0.0) as jobs:
            await jobs.house.tidy()
            for letter in "abc":
                with pytest.raises(NotFoundError, match="can be read"):
                    await jobs.get(letter * 32)
            await jobs.submit("score", b"1")
            await jobs.house.tidy()
            assert odd.keys() <= (await store.names("jobs")).keys()

    asyncio.run(main())


def test_a_runner_that_raises_is_begun_three_times(store: FolderStore, url: str | None) -> None:
    async def main() -> None:
        class Broken(Work):
            async def __call__(self, payload: bytes, seed: int, progress: Progress, spool: BinaryIO) -> Answer:
                self.asked.append((payload, seed))
                raise RuntimeError("broken")

        work = Broken()
        async with running(store, url, work) as jobs:
            assert (await over(jobs, (await jobs.submit("score", b"1")).id)).state == "interrupted"
        assert len(work.asked) == 3

    asyncio.run(main())


def test_what_one_version_cannot_read_is_left_to_another(
    store: FolderStore, shared_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "_PASS_ON_S", 1.0)
    monkeypatch.setitem(saq_worker._TIMERS, "schedule", 1)  # seconds between two looks for what is to be offered again

    async def main() -> None:
        class Older(Work):
            async def __call__(self, payload: bytes, seed: int, progress: Progress, spool: BinaryIO) -> Answer:
                await super().__call__(payload, seed, progress, spool)
                raise UnreadableError("no such field")

        older, newer = Older(go=True), Work(go=True)
        async with running(store, shared_url, older) as one, running(store, shared_url, newer, start=False) as two:
            record = await two.submit("score", b"1")
            await older.began.wait()

            async def is_left() -> bool:
                return (await two.get(record.id)).state == "queued"

            await until(is_left)
            await one.stop()
            await two.start()
            done = await over(two, record.id)
            assert (done.state, done.attempts) == ("done", 1)
        assert len(newer.asked) == 1

    asyncio.run(main())


def test_what_nobody_can_read_ends_at_last(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        class Older(Work):
            async def __call__(self, payload: bytes, seed: int, progress: Progress, spool: BinaryIO) -> Answer:
                raise UnreadableError("no such field")

        monkeypatch.setattr(attempts, "_PASSED_ON_S", -1.0)
        async with running(store, None, Older()) as jobs:
            final = await over(jobs, (await jobs.submit("score", b"1")).id)
            assert (final.state, final.attempts) == ("interrupted", 0)

    asyncio.run(main())


def test_what_a_later_version_added_to_a_file_is_passed_over(store: FolderStore) -> None:
    async def main() -> None:
        async with running(store, None, Work(go=True)) as jobs:
            record = await jobs.submit("score", b"1")
            await over(jobs, record.id)
            name = f"{record.id}.result"
            kept = json.loads(await store.get("jobs", name))
            await store.put("jobs", name, json.dumps({**kept, "added": 1}).encode())
            assert await jobs.result(record.id) == OK

    asyncio.run(main())


def test_who_shares_a_queue_has_to_share_the_store(tmp_path: Path, shared_url: str) -> None:
    async def main() -> None:
        one, other = FolderStore(tmp_path / "one"), FolderStore(tmp_path / "other")
        async with running(one, shared_url, Work(), dead_s=3):
            async with running(one, shared_url, Work(), dead_s=3, start=False):
                pass
            with pytest.raises(ValueError, match="is shared with others whose GAN_STORE is another"):
                async with running(other, shared_url, Work(), dead_s=6):
                    pass
        async with running(other, shared_url, Work(), dead_s=3):  # the others are gone: it is an operator's move
            pass

    asyncio.run(main())


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("amqp://user:secret@host", "GAN_JOBS begins with redis"),
        ("redis://:secret@127.0.0.1:1/0", r"GAN_JOBS: redis://127.0.0.1:1/0 cannot be used \(ConnectionError\)"),
        ("redis://:secret/x@127.0.0.1:1/0", "GAN_JOBS: redis://127.0.0.1:1/0 cannot be read as an address"),
        ("postgres://gan:secret@127.0.0.1:1/x", "GAN_JOBS: postgres://127.0.0.1:1/x cannot be used"),
    ],
)
def test_a_queue_that_cannot_be_used_is_a_sentence_without_its_password(
    url: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "_ANSWER_S", ANSWER_S)

    async def main() -> None:
        jobs = Jobs(FolderStore(Path("unused")), url)
        jobs.register("score", Work())
        await jobs.connect()

    with pytest.raises(ValueError, match=sentence) as refused:
        asyncio.run(main())
    assert "secret" not in str(refused.value)

"""Jobs: run in turn, report, cancel, come back after a restart, and are found again by their key."""

import asyncio
import dataclasses
from pathlib import Path

import pytest

from models.errors import ConflictError, InputError, NotFoundError, OverloadError
from service.call import Answer, Progress
from service.jobs.jobs import Jobs
from service.jobs.records import Record
from service.storage import FolderStore

OK = Answer(b"done", "text/plain")


class Work:
    """A runner that waits to be let go."""

    def __init__(self, answer: Answer = OK) -> None:
        self.answer = answer
        self.go = asyncio.Event()
        self.began = asyncio.Event()
        self.payloads: list[bytes] = []
        self.cancelled = 0

    async def __call__(self, payload: bytes, progress: Progress) -> Answer:
        self.payloads.append(payload)
        progress(0, 4)
        progress(1, 4)
        self.began.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.answer


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def jobs_with(store: FolderStore, work: Work, **options: float) -> Jobs:
    jobs = Jobs(store, **options)  # type: ignore[arg-type]
    jobs.register("score", work)
    return jobs


async def over(jobs: Jobs, job_id: str) -> Record:
    while job_id in jobs._live or not (await jobs.get(job_id)).over:
        await asyncio.sleep(0)
    return await jobs.get(job_id)


def test_a_job_goes_through_its_states_and_keeps_its_result(store: FolderStore) -> None:
    async def main() -> None:
        work = Work()
        jobs = jobs_with(store, work)
        await jobs.start()
        record = await jobs.submit("score", b"asked")
        assert record.state == "queued"
        await work.began.wait()
        running = await jobs.get(record.id)
        assert (running.state, running.done, running.total) == ("running", 1, 4)
        assert running.seconds_left is not None
        assert running.seconds_left >= 0
        with pytest.raises(ConflictError, match="is running and has no result"):
            await jobs.result(record.id)
        work.go.set()
        done = await over(jobs, record.id)
        assert done.state == "done"
        assert done.seconds_left is None
        assert await jobs.result(record.id) == OK
        assert work.payloads == [b"asked"]
        await jobs.stop()
        assert store.names("jobs") == [f"{record.id}.json", f"{record.id}.result"]  # the request is gone
        later = jobs_with(store, Work())
        assert await later.result(record.id) == OK

    asyncio.run(main())


def test_an_error_is_a_result_too(store: FolderStore) -> None:
    async def main() -> None:
        work = Work(Answer(b"broken", status=422))
        work.go.set()
        jobs = jobs_with(store, work)
        record = await jobs.submit("score", b"")
        assert (await over(jobs, record.id)).state == "failed"
        assert (await jobs.result(record.id)).status == 422

    asyncio.run(main())


def test_one_of_a_kind_runs_at_a_time_and_the_waiting_are_bounded(store: FolderStore) -> None:
    async def main() -> None:
        work = Work()
        jobs = jobs_with(store, work, max_waiting=2)
        first, second = await jobs.submit("score", b"1"), await jobs.submit("score", b"2")
        await work.began.wait()
        assert (await jobs.get(second.id)).state == "queued"
        with pytest.raises(OverloadError) as refused:
            await jobs.submit("score", b"3")
        assert refused.value.retry_after_s >= 0
        work.go.set()
        await over(jobs, first.id)
        await over(jobs, second.id)
        assert work.payloads == [b"1", b"2"]

    asyncio.run(main())


@pytest.mark.parametrize("running", [True, False])
def test_cancel_stops_running_and_waiting_jobs(store: FolderStore, running: bool) -> None:
    async def main() -> None:
        work = Work()
        jobs = jobs_with(store, work)
        record = await jobs.submit("score", b"1")
        if running:
            await work.began.wait()
        assert (await jobs.delete(record.id)).state == "cancelled"
        assert work.cancelled == running
        with pytest.raises(ConflictError, match="cancelled and has no result"):
            await jobs.result(record.id)
        assert (await jobs.delete(record.id)).state == "cancelled"  # over: removed now
        with pytest.raises(NotFoundError):
            await jobs.get(record.id)
        assert store.names("jobs") == []

    asyncio.run(main())


def test_the_same_key_finds_the_same_job(store: FolderStore) -> None:
    async def main() -> None:
        work = Work()
        jobs = jobs_with(store, work)
        one, two = await asyncio.gather(jobs.submit("score", b"1", "key"), jobs.submit("score", b"1", "key"))
        other = await jobs.submit("score", b"1", "other")
        assert one.id == two.id != other.id
        with pytest.raises(ConflictError, match="Idempotency-Key was used"):
            await jobs.submit("score", b"2", "key")
        assert (await jobs.submit("score", b"2", "key", "someone else")).id != one.id
        work.go.set()
        await over(jobs, one.id)
        assert (await jobs.submit("score", b"1", "key")).state == "done"
        restarted = jobs_with(store, Work())
        assert (await restarted.submit("score", b"1", "key")).id == one.id
        for bad in ("", "a b", "ä", "x" * 256, "a\n"):
            with pytest.raises(InputError, match="Idempotency-Key must be"):
                await jobs.submit("score", b"1", bad)
        await jobs.stop()

    asyncio.run(main())


def test_a_stop_hands_the_job_over_and_the_next_process_finishes_it(store: FolderStore) -> None:
    async def main() -> None:
        work = Work()
        jobs = jobs_with(store, work)
        record = await jobs.submit("score", b"1")
        await work.began.wait()
        await jobs.stop()
        assert work.cancelled == 1
        again = Work()
        again.go.set()
        later = jobs_with(store, again)
        assert (await later.get(record.id)).state == "queued"
        await later.start()
        assert (await over(later, record.id)).state == "done"
        assert again.payloads == [b"1"]
        await later.stop()

    asyncio.run(main())


def rewrite(store: FolderStore, record: Record, **changes: object) -> None:
    changed = dataclasses.replace(record, **changes)  # type: ignore[arg-type]
    store.put("jobs", f"{record.id}.json", changed.dump())


@pytest.mark.parametrize(
    ("attempts", "state"), [(0, "done"), (2, "done"), (3, "interrupted")], ids=["fresh", "twice", "three times"]
)
def test_a_crash_begins_the_job_again_twice_then_says_so(store: FolderStore, attempts: int, state: str) -> None:
    async def main() -> None:
        crashed = jobs_with(store, Work())
        record = await crashed.submit("score", b"1")
        await crashed.stop()
        # As a process that was killed leaves it: signed by this machine, under a number that nobody has now.
        owner = f"{record.owner.partition(':')[0]}:{2**22 + 1}"
        rewrite(store, record, state="running", attempts=attempts, owner=owner)
        work = Work()
        work.go.set()
        later = jobs_with(store, work)
        await later.start()
        final = await over(later, record.id)
        assert final.state == state
        assert final.attempts == min(attempts + 1, 3)
        await later.stop()

    asyncio.run(main())


def test_a_job_that_another_machine_signs_is_left_to_it_until_it_stops_signing(store: FolderStore) -> None:
    async def main() -> None:
        first = jobs_with(store, Work())
        record = await first.submit("score", b"1")
        await first.stop()
        work = Work()
        work.go.set()
        jobs = jobs_with(store, work, sign_s=10.0)
        rewrite(store, record, state="running", owner="elsewhere:1", signed_at=record.signed_at)
        await jobs.tidy()
        assert (await jobs.get(record.id)).state == "running"
        assert work.payloads == []
        rewrite(store, record, state="running", owner="elsewhere:1", signed_at=record.signed_at - 31.0)
        await jobs.tidy()
        assert (await over(jobs, record.id)).state == "done"

    asyncio.run(main())


def test_another_process_s_cancel_reaches_the_one_that_runs_it(store: FolderStore) -> None:
    async def main() -> None:
        work = Work()
        jobs = jobs_with(store, work, sign_s=0.01)
        await jobs.start()
        record = await jobs.submit("score", b"1")
        await work.began.wait()
        elsewhere = jobs_with(store, Work())
        assert (await elsewhere.delete(record.id)).state == "running"  # so far
        assert (await over(jobs, record.id)).state == "cancelled"
        assert work.cancelled == 1
        await jobs.stop()

    asyncio.run(main())


def test_finished_jobs_are_removed_by_age_and_by_number(store: FolderStore) -> None:
    async def main() -> None:
        work = Work()
        work.go.set()
        jobs = jobs_with(store, work, keep=2, keep_s=1000.0)
        # one after the other: of three at once, any may be the first to finish
        records = [await over(jobs, (await jobs.submit("score", bytes([i]))).id) for i in range(3)]
        ids = [record.id for record in records]
        await jobs.tidy()
        for one, there in zip(ids, (False, True, True), strict=True):
            assert (f"{one}.json" in store.names("jobs")) is there
        rewrite(store, records[1], finished_at=(records[1].finished_at or 0.0) - 1001.0)
        await jobs.tidy()
        assert store.names("jobs") == [f"{ids[2]}.json", f"{ids[2]}.result"]

    asyncio.run(main())


@pytest.mark.parametrize("job_id", ["", "x", "../../etc/passwd", "A" * 32, "0" * 31, "0" * 32, "0" * 32 + "\n"])
def test_unknown_and_hostile_ids_are_not_found(store: FolderStore, job_id: str) -> None:
    async def main() -> None:
        jobs = jobs_with(store, Work())
        for call in (jobs.get, jobs.result, jobs.delete):
            with pytest.raises(NotFoundError, match="There is no"):
                await call(job_id)

    asyncio.run(main())


def test_a_full_store_is_said_on_submission(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OverloadError("The store is full.", retry_after_s=60.0)

    async def main() -> None:
        jobs = jobs_with(store, Work())
        monkeypatch.setattr(store, "put", full)
        with pytest.raises(OverloadError, match="full"):
            await jobs.submit("score", b"1")

    asyncio.run(main())


def test_unreadable_records_are_left_alone(store: FolderStore) -> None:
    async def main() -> None:
        store.put("jobs", f"{'a' * 32}.json", b"{}")
        store.put("jobs", f"{'b' * 32}.json", b"not json")
        work = Work()
        work.go.set()
        jobs = jobs_with(store, work)
        await jobs.tidy()
        with pytest.raises(NotFoundError, match="can be read"):
            await jobs.get("a" * 32)
        assert (await over(jobs, (await jobs.submit("score", b"1")).id)).state == "done"

    asyncio.run(main())


def test_tidying_leaves_a_job_alone_that_is_being_submitted(store: FolderStore) -> None:
    async def main() -> None:
        work = Work()
        jobs = jobs_with(store, work)
        ids = []
        for index in range(5):
            record, *_ = await asyncio.gather(jobs.submit("score", bytes([index])), jobs.tidy(), jobs.tidy())
            ids.append(record.id)
        work.go.set()
        assert [(await over(jobs, one)).attempts for one in ids] == [1] * 5
        assert len(work.payloads) == 5

    asyncio.run(main())

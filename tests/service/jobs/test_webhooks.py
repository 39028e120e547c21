"""Callbacks, told to a server that listens."""

import asyncio
import contextlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from standardwebhooks import Webhook

from models.errors import InputError
from service.call import Answer, Report
from service.jobs.callbacks import Callbacks
from service.jobs.jobs import Jobs
from service.jobs.records import Record
from service.storage import FolderStore

SECRET, OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
ROOT = Path(__file__).parents[3]


@dataclass
class Receiver:
    """A server that answers with the next status, and with the last one from then on; 0 is no answer at all."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [200])
    seen: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def verified(self) -> list[dict[str, Any]]:
        return [Webhook(SECRET).verify(body, headers) for _, headers, body in self.seen]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            one.seen.append((self.path, dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            status = one.statuses.pop(0) if len(one.statuses) > 1 else one.statuses[0]
            if status:
                self.send_response(status)
                self.send_header("Location", f"{one.url}/elsewhere")
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(bytes(1 << 20))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        one.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield one
        server.shutdown()


def allowed(*hosts: str, pauses_s: tuple[float, ...] = (0.01,) * 3) -> Callbacks:
    return replace(Callbacks.parse(hosts, (SECRET, OLD)), pauses_s=pauses_s)


@contextlib.asynccontextmanager
async def running(store: FolderStore, callbacks: Callbacks, status: int = 200):  # type: ignore[no-untyped-def]
    async def work(payload: bytes, seed: int, report: Report, spool: BinaryIO) -> Answer:
        return Answer(b"done", "text/plain", {}, status)

    # it keeps house every 0.25 s; with a shorter time a busy machine would take a job for dead, and begin it again
    jobs = Jobs(store, dead_s=1.5, callbacks=callbacks)
    jobs.register("sample", work)
    await jobs.connect()
    await jobs.start()
    try:
        yield jobs
    finally:
        await jobs.stop()


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await true():
            await asyncio.sleep(0.01)


async def told(jobs: Jobs, job_id: str) -> Record:
    """The job once its webhook is over."""

    async def is_over() -> bool:
        delivery = (await jobs.get(job_id)).delivery
        return delivery is not None and delivery.state != "pending"

    await until(is_over)
    return await jobs.get(job_id)


async def left(store: FolderStore, *suffixes: str) -> bool:
    """Whether these files are left, and no others."""
    return sorted(name.rpartition(".")[2] for name in await store.names("jobs")) == [*suffixes]


def test_a_job_that_is_over_is_told_once_and_signed(receiver: Receiver, tmp_path: Path) -> None:
    async def main() -> None:
        store = FolderStore(tmp_path)
        async with running(store, allowed(receiver.url)) as jobs:
            job = await jobs.submit("sample", b"", callback=f"{receiver.url}/gan?a=b")
            record = await told(jobs, job.id)
            assert (record.delivery.state, record.delivery.attempts) == ("delivered", 1)
            assert (record.delivery.last_status, record.delivery.last_error) == (200, None)
            ((path, headers, body),) = receiver.seen
            assert (path, headers["webhook-id"]) == ("/gan?a=b", f"job_{job.id}")
            (message,) = receiver.verified
            assert Webhook(OLD).verify(body, headers) == message
            assert (message["type"], message["data"]["id"], message["data"]["state"]) == ("job.done", job.id, "done")
            assert message["timestamp"] == message["data"]["finished_at"]
            await until(lambda: left(store, "body", "json", "result", "webhook"))
            await jobs.house.tidy()
            await jobs.delete(job.id)
            assert await left(store)
        assert len(receiver.seen) == 1

    asyncio.run(main())


@pytest.mark.parametrize("refusal", [500, 302, 404, 0])
def test_what_is_not_received_is_tried_again_with_the_same_id(receiver: Receiver, tmp_path: Path, refusal: int) -> None:
    async def main() -> None:
        receiver.statuses = [refusal, refusal, 202]
        async with running(FolderStore(tmp_path), allowed(receiver.url), status=500) as jobs:
            job = await jobs.submit("sample", b"", callback=receiver.url)
            record = await told(jobs, job.id)
        assert (record.delivery.state, record.delivery.attempts, record.delivery.last_status) == ("delivered", 3, 202)
        assert {(path, headers["webhook-id"]) for path, headers, _ in receiver.seen} == {("/", f"job_{job.id}")}
        assert [message["type"] for message in receiver.verified] == ["job.failed"] * 3

    asyncio.run(main())


@pytest.mark.parametrize(("status", "attempts"), [(503, 4), (410, 1)])
def test_it_is_given_up_at_last(receiver: Receiver, tmp_path: Path, status: int, attempts: int) -> None:
    async def main() -> None:
        receiver.statuses = [status]
        store = FolderStore(tmp_path)
        async with running(store, allowed(receiver.url)) as jobs:
            job = await jobs.submit("sample", b"", callback=receiver.url)
            record = await told(jobs, job.id)
            assert (record.delivery.state, record.delivery.attempts, record.delivery.last_status) == (
                "failed",
                attempts,
                status,
            )
            assert (await jobs.result(job.id)).content == b"done"
            await until(lambda: asyncio.sleep(0, not [*tmp_path.glob("jobs/*.try")]))
        assert len(receiver.seen) == attempts

    asyncio.run(main())


def test_a_name_that_leads_inside_is_not_called(receiver: Receiver, tmp_path: Path) -> None:
    port = receiver.url.rpartition(":")[2]
    url = f"http://localhost:{port}"

    async def delivered(*hosts: str) -> Record:
        async with running(FolderStore(tmp_path), allowed(*hosts, pauses_s=())) as jobs:
            return await told(jobs, (await jobs.submit("sample", b"", callback=url)).id)

    record = asyncio.run(delivered(url))
    assert (record.delivery.state, record.delivery.last_status) == ("failed", None)  # type: ignore[union-attr]
    assert "stands for no address that may be called" in str(record.delivery.last_error)  # type: ignore[union-attr]
    assert receiver.seen == []
    record = asyncio.run(delivered(url, "127.0.0.0/8", "::1/128"))
    assert (record.delivery.state, len(receiver.seen)) == ("delivered", 1)  # type: ignore[union-attr]


def test_what_is_not_listed_is_no_job(receiver: Receiver, tmp_path: Path) -> None:
    async def main() -> None:
        store = FolderStore(tmp_path)
        async with running(store, allowed("hooks.example.com")) as jobs:
            with pytest.raises(InputError, match="GAN_WEBHOOK_HOSTS"):
                await jobs.submit("sample", b"", callback=receiver.url)
        assert await store.names("jobs") == {}

    asyncio.run(main())


def test_a_cancelled_job_is_told_too_and_one_that_is_not_over_is_not(receiver: Receiver, tmp_path: Path) -> None:
    async def main() -> None:
        jobs = Jobs(FolderStore(tmp_path), dead_s=1.5, callbacks=allowed(receiver.url))
        jobs.register("sample", lambda *_: asyncio.sleep(0, Answer(b"")))
        await jobs.connect()  # nobody works here
        job = await jobs.submit("sample", b"", callback=receiver.url)
        await jobs.house.tidy()
        assert receiver.seen == []
        assert (await jobs.get(job.id)).over is False
        await jobs.delete(job.id)
        await told(jobs, job.id)
        await jobs.stop()
        assert [message["type"] for message in receiver.verified] == ["job.cancelled"]

    asyncio.run(main())


DIES = """
import asyncio, os, sys
from dataclasses import replace
from pathlib import Path
from service.call import Answer
from service.jobs.callbacks import Callbacks
from service.jobs.jobs import Jobs
from service.jobs.webhooks import Webhooks
from service.storage import FolderStore

folder, url, secret, moment = sys.argv[1:]

async def die(self, record):
    os.kill(os.getpid(), 9)

if moment == "before":
    Webhooks._attempt = lambda self, job_id, number: die(self, None)
else:
    Webhooks._call = die

async def main():
    jobs = Jobs(FolderStore(Path(folder)), callbacks=Callbacks.parse((url,), (secret,)))
    jobs.register("sample", lambda *_: asyncio.sleep(0, Answer(b"done")))
    await jobs.connect()
    await jobs.start()
    print((await jobs.submit("sample", b"", callback=url + "/kept")).id, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize(("moment", "attempts"), [("before", 1), ("within", 2)])
def test_who_was_killed_between_a_job_s_end_and_its_telling_is_made_good(
    receiver: Receiver, tmp_path: Path, moment: str, attempts: int
) -> None:
    arguments = [sys.executable, "-c", DIES, str(tmp_path), receiver.url, SECRET, moment]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert killed.returncode == -9, killed.stderr
    job_id = killed.stdout.strip()
    assert receiver.seen == []
    assert [path.suffix for path in tmp_path.glob(f"jobs/{job_id}.*")].count(".result") == 1

    async def main() -> None:
        async with running(FolderStore(tmp_path), allowed(receiver.url)) as jobs:
            record = await told(jobs, job_id)
            assert (record.delivery.state, record.delivery.attempts) == ("delivered", attempts)

    asyncio.run(main())
    assert [
        (path, message["data"]["id"]) for (path, _, _), message in zip(receiver.seen, receiver.verified, strict=True)
    ] == [("/kept", job_id)]


def test_two_replicas_make_one_attempt(receiver: Receiver, tmp_path: Path) -> None:
    async def main() -> None:
        store, callbacks = FolderStore(tmp_path), allowed(receiver.url, pauses_s=(600.0,))
        one, two = Jobs(store, callbacks=callbacks), Jobs(store, callbacks=callbacks)
        for jobs in (one, two):
            jobs.register("sample", lambda *_: asyncio.sleep(0, Answer(b"")))
        job = await one.submit("sample", b"", callback=receiver.url)
        await one.delete(job.id)
        await asyncio.gather(*(jobs.house.tidy() for jobs in (one, two, one, two)))
        await told(two, job.id)
        await one.stop()
        await two.stop()
        assert len(receiver.seen) == 1

    asyncio.run(main())


class Late(FolderStore):
    """The store of a replica that is slow to begin an attempt: another has told meanwhile."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def create(self, section: str, name: str, data: bytes) -> None:
        if name.endswith(".try"):
            self.asked.set()
            await self.go.wait()
        await super().create(section, name, data)


def test_a_replica_that_comes_late_tells_nobody_twice(receiver: Receiver, tmp_path: Path) -> None:
    async def main() -> None:
        store, late, callbacks = FolderStore(tmp_path), Late(tmp_path), allowed(receiver.url, pauses_s=(600.0,))
        one, two = Jobs(store, callbacks=callbacks), Jobs(late, callbacks=callbacks)
        job = await one.submit("sample", b"", callback=receiver.url)
        await one.delete(job.id)
        await two.house.tidy()
        await late.asked.wait()
        await one.house.tidy()
        await told(one, job.id)
        await until(lambda: left(store, "result", "webhook"))
        late.go.set()
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
        await two.stop()
        await one.stop()
        assert await left(store, "result", "webhook")
        assert len(receiver.seen) == 1

    asyncio.run(main())


def test_what_has_been_told_is_not_told_again_when_only_that_is_left_to_say(receiver: Receiver, tmp_path: Path) -> None:
    async def main() -> None:
        store = FolderStore(tmp_path)
        async with running(store, allowed(receiver.url)) as jobs:
            job = await jobs.submit("sample", b"", callback=receiver.url)
            await told(jobs, job.id)
            await until(lambda: left(store, "body", "json", "result", "webhook"))
            await store.put("jobs", f"{job.id}.callback", b"")
            await until(lambda: left(store, "body", "json", "result", "webhook"))
        assert len(receiver.seen) == 1

    asyncio.run(main())

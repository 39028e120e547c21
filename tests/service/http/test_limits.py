"""Too much at once, deadlines, and the end."""

import asyncio
import concurrent.futures
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from starlette.requests import Request
from starlette.types import Message

from service.call import Answer, Call
from service.endpoints.sample import SampleRequest
from service.engine.sampler import SamplerRun
from service.http.operation import Operation, run
from service.runtime import Runtime
from service.settings import Settings


class Held:
    """Generators wait for `go` before every batch; `reached` is set when the first waits."""

    def __init__(self) -> None:
        self.go, self.reached = threading.Event(), threading.Event()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    one = Held()
    run = SamplerRun.__call__

    def wait(self: SamplerRun, key: Any, items: Sequence[Any]) -> Any:
        one.reached.set()
        assert one.go.wait(300)
        return run(self, key, items)

    monkeypatch.setattr(SamplerRun, "__call__", wait)
    yield one
    one.go.set()


def sample(url: str, **body: Any) -> requests.Response:
    return requests.post(f"{url}/v1/sample", json={"model": "tiny"} | body, timeout=300)


def test_past_the_queue_requests_are_turned_away_at_once(
    serve: Callable[..., Any], held: Held, wait_until: Callable[..., None]
) -> None:
    one = serve(max_queue=8, max_batch=4)
    unit = one.runtime.registry.sampler("tiny").unit
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        accepted = [pool.submit(sample, one.url)]
        assert held.reached.wait(300)
        accepted += [pool.submit(sample, one.url, seed=seed) for seed in range(8)]  # all of them before a ninth
        wait_until(lambda: unit.batcher.queued == 8, "a full queue")
        refused = [sample(one.url, seed=0) for _ in range(3)]
        assert not held.go.is_set()  # nothing was waited for
        assert [answer.status_code for answer in refused] == [503] * 3
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
        assert refused[0].json()["error"]["code"] == "overloaded"
        held.go.set()
        assert [answer.result().status_code for answer in accepted] == [200] * 9


def test_more_requests_than_may_be_inside(
    serve: Callable[..., Any], held: Held, wait_until: Callable[..., None]
) -> None:
    one = serve(max_requests=2)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        inside = [pool.submit(sample, one.url) for _ in range(2)]
        wait_until(lambda: one.runtime.telemetry.in_progress._value.get() == 2, "two requests inside")
        refused = sample(one.url)
        assert refused.status_code == 503
        assert refused.headers["Retry-After"] == "1"
        held.go.set()
        assert [answer.result().status_code for answer in inside] == [200, 200]


def test_past_the_deadline_the_answer_is_504_and_the_work_is_dropped(
    serve: Callable[..., Any], held: Held, wait_until: Callable[..., None]
) -> None:
    one = serve(deadline_s=2, max_batch=1)  # time enough for a body to arrive, or the answer is 408
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda seed: sample(one.url, seed=seed), range(5)))
    assert [answer.status_code for answer in answers] == [504] * 5
    assert answers[0].json()["error"]["code"] == "deadline_exceeded"
    held.go.set()
    later = 0

    def served() -> bool:
        nonlocal later
        later += 1
        return sample(one.url).status_code == 200  # on a machine with much to do not within 2 s at once

    wait_until(served, "an answer")
    passes = one.runtime.telemetry.registry.get_sample_value("gan_batch_images_count", {"model": "tiny"})
    assert passes <= 2 + later  # the one that ran already and perhaps another, not all five


class Hurried(asyncio.SelectorEventLoop):
    """An event loop whose clock can be put forward."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def test_upload_and_work_share_one_deadline() -> None:
    """Else a slow upload and slow work together outlast BentoML's own timeout, whose answer is of another shape."""
    runner = asyncio.Runner(loop_factory=Hurried)
    loop: Any = runner.get_loop()
    body: list[Message] = [{"type": "http.request", "body": b"{}", "more_body": False}]

    async def receive() -> Message:
        if not body:
            await asyncio.Event().wait()
        loop.ahead += 20
        return body.pop()

    async def handler(runtime: Runtime, call: Call) -> Answer:
        loop.ahead += 20
        for _ in range(10):
            await asyncio.sleep(0)
        return Answer(b"in time")

    operation = Operation("POST", "/x", "x", "x", handler, "x", body=SampleRequest)
    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}
    runtime: Any = SimpleNamespace(settings=Settings(deadline_s=30))
    with runner:
        answer = runner.run(run(operation, runtime, Request(scope, receive)))
    assert answer.status_code == 504


def test_a_client_that_leaves_takes_its_work_along(
    serve: Callable[..., Any], held: Held, wait_until: Callable[..., None]
) -> None:
    one = serve(max_batch=1, half_closed_s=0)
    unit = one.runtime.registry.sampler("tiny").unit
    host, port = one.url.removeprefix("http://").split(":")
    body = b'{"model": "tiny", "n": 200}'
    with contextlib.closing(socket.create_connection((host, int(port)), timeout=300)) as connection:
        head = b"POST /v1/sample HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        wait_until(lambda: unit.batcher.queued >= 199, "the work in the queue")
    wait_until(lambda: one.runtime.telemetry.in_progress._value.get() == 0, "the request's end")
    held.go.set()
    assert sample(one.url).status_code == 200
    passes = one.runtime.telemetry.registry.get_sample_value("gan_batch_images_count", {"model": "tiny"})
    assert passes <= 3


def test_on_sigterm_the_real_service_finishes_what_it_accepted(
    checkpoints: Path, tmp_path: Path, free_port: int, wait_until: Callable[..., None], serving: Callable[..., Any]
) -> None:
    command = [sys.executable, "-m", "bentoml", "serve", "service.app:GanService", "--port", str(free_port)]
    url, log = f"http://127.0.0.1:{free_port}", tmp_path / "log"
    photo = next((Path(__file__).parents[2] / "fixtures" / "horse2zebra" / "testA").iterdir()).read_bytes()
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            env=serving(tmp_path, checkpoints),
            cwd=Path(__file__).parents[3],
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(process.kill)  # whatever fails, it does not outlive the test
        wait_until(
            lambda: process.poll() is not None or requests.get(f"{url}/readyz", timeout=2).status_code == 200,
            "readiness",
            400,
        )
        assert process.poll() is None, log.read_text()[-3000:]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            files = [("images", (f"{index}.jpg", photo)) for index in range(16)]
            inside = [pool.submit(requests.post, f"{url}/v1/translate", files=files, timeout=300) for _ in range(4)]
            wait_until(
                lambda: (
                    "gan_requests_in_progress 4.0" in requests.get(f"{url}/metrics", timeout=5).text
                    or any(one.done() for one in inside)
                ),
                "requests inside",
            )
            os.kill(process.pid, signal.SIGTERM)
            assert [answer.result().status_code for answer in inside] == [200] * 4
        assert process.wait(300) == 0

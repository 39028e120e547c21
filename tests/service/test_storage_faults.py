"""A bucket that is slow, full, read-only or gone, and a disk that hangs: everything but the store goes on."""

import http.server
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from benchmarks.passing import Passing
from tests.service.servers import s3_server


@dataclass
class Wire:
    """Stands before the S3 server, and answers in its place where it is told to.

    Attributes:
        refusal: (status, code) of every write.
        held: writes and reads wait while it is not set.
    """

    url: str
    bucket: str
    refusal: tuple[int, str] | None = None
    held: threading.Event = None  # type: ignore[assignment]


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    with s3_server() as (bucket, environment):
        one = Wire("", bucket, held=threading.Event())
        one.held.set()

        class Handler(Passing):
            def refused(self) -> tuple[int, str] | None:
                one.held.wait(60)
                return one.refusal if self.command in ("PUT", "POST", "DELETE") else None

        Handler.behind = environment["AWS_ENDPOINT"]
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who asked may have left
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        one.url = f"http://127.0.0.1:{server.server_address[1]}"
        for name, value in {**environment, "AWS_ENDPOINT": one.url}.items():
            monkeypatch.setenv(name, value)
        yield one
        one.held.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


def sample(url: str) -> int:
    return requests.post(f"{url}/v1/sample", json={"model": "tiny"}, timeout=60).status_code


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        ((403, "AccessDenied"), "refuses these credentials"),
        ((507, "InsufficientStorage"), "does not answer as it should"),
    ],
    ids=["read-only", "full"],
)
def test_a_bucket_that_takes_nothing_is_said_and_stops_nothing_else(
    serve: Callable[..., Any], wire: Wire, refusal: tuple[int, str], reason: str, wait_until: Callable[..., None]
) -> None:
    url = serve(store=wire.bucket).url
    body = {"model": "tiny", "output": "json"}
    kept = requests.post(f"{url}/v1/jobs/sample", json=body, timeout=60).json()["id"]

    def state() -> str:
        return str(requests.get(f"{url}/v1/jobs/{kept}", timeout=60).json()["state"])

    wait_until(lambda: state() == "done", "the job")
    wire.refusal = refusal
    refused = requests.post(f"{url}/v1/jobs/sample", json=body, timeout=60)
    assert refused.status_code == 503
    assert reason in refused.json()["error"]["message"]
    assert int(refused.headers["Retry-After"]) >= 1
    assert sample(url) == 200
    assert requests.get(f"{url}/v1/jobs/{kept}/result", timeout=60).status_code == 200  # it can be read
    wire.refusal = None
    assert requests.post(f"{url}/v1/jobs/sample", json=body, timeout=60).status_code == 202


def test_while_a_bucket_does_not_answer_everything_else_does(serve: Callable[..., Any], wire: Wire) -> None:
    local = serve(store=wire.bucket, deadline_s=4)
    wire.held.clear()
    with ThreadPoolExecutor(8) as pool:
        address = f"{local.url}/v1/jobs/sample"
        waiting = [pool.submit(requests.post, address, json={"model": "tiny"}, timeout=60) for _ in range(8)]
        for _ in range(5):
            assert sample(local.url) == 200
            assert requests.get(f"{local.url}/v1/models", timeout=60).status_code == 200
        assert {one.result().status_code for one in waiting} <= {503, 504}


def test_while_a_disk_hangs_everything_else_goes_on(serve: Callable[..., Any], tmp_path: Path) -> None:
    """A named pipe that nobody writes to hangs whoever opens it, as a file on a disk that is gone does."""
    local = serve(deadline_s=4)
    jobs = [f"{index:032x}" for index in range(8)]
    (tmp_path / "store" / "jobs").mkdir(parents=True, exist_ok=True)
    pipes = [tmp_path / "store" / "jobs" / f"{job}.result" for job in jobs]
    for pipe in pipes:
        os.mkfifo(pipe)
    try:
        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(requests.get, f"{local.url}/v1/jobs/{job}", timeout=60) for job in jobs]
            for _ in range(5):
                assert sample(local.url) == 200
                assert requests.get(f"{local.url}/v1/models", timeout=60).status_code == 200
            assert [one.result().status_code for one in waiting] == [504] * 8
    finally:
        for pipe in pipes:  # lets the threads go
            os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))

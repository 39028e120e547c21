"""A process that only works, beside one that only answers, and what ends it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from service import worker
from tests.service.servers import Server, free_port, redis_server

ROOT = Path(__file__).parents[2]
SERVER = """
import sys
import uvicorn
from service.routes import standalone
from service.runtime import Runtime
from service.settings import Settings

uvicorn.run(standalone(Runtime(Settings.from_environment())), port=int(sys.argv[1]), log_level="warning")
"""


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


def environment(checkpoints: Path, folder: Path, **settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GAN_")}
    own = {"GAN_MODELS": str(checkpoints), "GAN_STORE": str(folder / "store"), "GAN_RELOAD_S": "0"}
    return {**kept, "OMP_NUM_THREADS": "1", **own, **settings}


@contextlib.contextmanager
def running(command: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, *command], cwd=ROOT, env=env, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def test_it_does_what_another_was_asked_and_tells_how_it_is(
    redis: Server, checkpoints: Path, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    env = environment(checkpoints, tmp_path, GAN_JOBS=redis.url, GAN_JOB_WORKER="false")
    ports = [free_port(), free_port()]
    asked, works = (f"http://127.0.0.1:{port}" for port in ports)
    with running(["-c", SERVER, str(ports[0])], env):
        wait_until(lambda: requests.get(f"{asked}/v1/models", timeout=5).json()["ready"], "who answers")
        body = {"model": "tiny", "n": 2, "seed": 7, "output": "zip"}
        job = requests.post(f"{asked}/v1/jobs/sample", json=body, timeout=60).json()["id"]

        def view() -> Any:
            return requests.get(f"{asked}/v1/jobs/{job}", timeout=60).json()

        assert view()["state"] == "queued"  # nobody works yet
        with running(["-m", "service.worker", "--port", str(ports[1])], env) as process:
            wait_until(lambda: view()["state"] == "done", "the job's end")
            kept = requests.get(f"{asked}/v1/jobs/{job}/result", timeout=60).content
            assert kept == requests.post(f"{asked}/v1/sample", json=body, timeout=60).content
            for path in ("/livez", "/healthz", "/readyz"):
                assert requests.get(works + path, timeout=60).status_code == 200
            assert 'gan_job_seconds_count{kind="sample"} 1.0' in requests.get(f"{works}/metrics", timeout=60).text
            assert requests.post(f"{works}/v1/sample", json=body, timeout=60).status_code == 404

            long = {"model": "tiny", "n": 10_000, "seed": 1, "output": "npz"}
            job = requests.post(f"{asked}/v1/jobs/sample", json=long, timeout=60).json()["id"]
            wait_until(lambda: view()["state"] == "running", "the work")
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        assert view()["state"] == "queued"  # handed back; it did not count as an attempt
        assert view()["attempts"] == 0


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "error: A worker takes jobs from where others put them: GAN_JOBS says where they wait."),
        ({"GAN_JOBS": "redis://:secret@127.0.0.1:1/0"}, "error: GAN_JOBS: redis://127.0.0.1:1/0 cannot be used"),
    ],
)
def test_a_place_that_cannot_be_used_ends_it_with_a_sentence(
    checkpoints: Path, tmp_path: Path, settings: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ended(environment(checkpoints, tmp_path, **settings), monkeypatch).startswith(sentence)


@pytest.mark.parametrize("jobs", ["redis://127.0.0.1/0", "postgres://gan@127.0.0.1/x"])
def test_a_driver_that_is_not_installed_is_said(
    checkpoints: Path, tmp_path: Path, jobs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("redis.asyncio", "psycopg_pool"):
        monkeypatch.setitem(sys.modules, name, None)
    said = ended(environment(checkpoints, tmp_path, GAN_JOBS=jobs), monkeypatch)
    assert "its driver is not installed: pip install -c constraints.txt -r requirements-scale.txt" in said


def ended(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What a worker says on standard error as it ends, before it has begun."""
    for name in os.environ.keys() - env.keys():
        monkeypatch.delenv(name)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        worker.main(["--port", "0"])
    assert "secret" not in str(caught.value)
    return str(caught.value)

"""Two replicas, each a server in a process of its own, on one store and one queue; one has a clock 45 s ahead.

Both believe that they have one process number on one host, as containers may. Their scores wait until a test lets them
go, and say in which process they wait.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.service.servers import Server, free_port, nginx, postgres_server, redis_server, s3_server

ROOT = Path(__file__).parents[3]
CIFAR = ROOT / "tests" / "fixtures" / "cifar10"
SCORE = {"a_n": 8, "a_model": "tiny", "b_n": 8, "b_model": "tiny", "b_seed": 50}
DEAD_S = 4.0
REPLICA = """
import os, socket, sys, time

own, real = os.getpid(), time.time
os.getpid, socket.gethostname, time.time = lambda: 5, lambda: "vm", lambda: real() + float(sys.argv[2])
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from service.routes import standalone
from service.runtime import Runtime
from service.settings import Settings

folder = Path(sys.argv[3])

@dataclass(frozen=True)
class Gate:
    name = "gate"; side = 299; dimensions = 2; precision = "float32"; batch_size = 4; logits = None
    def features(self, images):
        (folder / "waits").with_suffix(f".{own}").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
        return images[:, :2, 0, 0].numpy()

uvicorn.run(standalone(Runtime(Settings.from_environment(), Gate())), port=int(sys.argv[1]), log_level="warning")
"""


class Replicas:
    """Two servers, and the gate that their scores wait at."""

    def __init__(self, queue: Server, checkpoints: Path, folder: Path, settings: Mapping[str, str] = {}) -> None:
        self.queue = queue
        self.folder = folder
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("GAN_")} | {
            "OMP_NUM_THREADS": "1",
            "GAN_MODELS": str(checkpoints),
            "GAN_STORE": str(folder / "store"),
            "GAN_RELOAD_S": "0",
            "GAN_JOBS": queue.url,
            "GAN_JOB_DEAD_S": str(DEAD_S),
            "GAN_JOB_QUEUE": "300",
            **settings,
        }
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(self) -> list[str]:
        """Both, with the gate shut; gives their addresses."""
        (self.folder / "go").unlink(missing_ok=True)
        for path in self.folder.glob("waits.*"):
            path.unlink()
        self._running = [one for one in self._running if one[1].poll() is None]
        while len(self._running) < 2:
            self._running.append(self._started("45" if self._running else "0"))
        for url, process in self._running:
            until(lambda url=url, process=process: process.poll() is not None or _is_ready(url))  # type: ignore[misc]
            assert process.poll() is None
        return [url for url, _ in self._running]

    def _started(self, ahead_s: str) -> tuple[str, subprocess.Popen[bytes]]:
        port = free_port()
        command = [sys.executable, "-c", REPLICA, str(port), ahead_s, str(self.folder)]
        process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=subprocess.DEVNULL)
        return f"http://127.0.0.1:{port}", process

    def waiting(self, *, besides: int = 0) -> int:
        """The process whose score waits at the gate."""
        others: list[int] = []

        def found() -> bool:
            others[:] = [int(path.suffix[1:]) for path in self.folder.glob("waits.*")]
            return bool(set(others) - {besides})

        until(found)
        return next(one for one in others if one != besides)

    def kill(self, process: int) -> None:
        running = next(one for _, one in self._running if one.pid == process)
        running.kill()
        running.wait(60)

    def other_than(self, process: int) -> str:
        return next(url for url, running in self._running if running.pid != process)

    def open_gate(self) -> None:
        (self.folder / "go").touch()

    def stop(self) -> None:
        for _, process in self._running:
            process.kill()
            process.wait(60)


def _is_ready(url: str) -> bool:
    with contextlib.suppress(requests.ConnectionError, requests.Timeout):
        return bool(requests.get(f"{url}/v1/models", timeout=2).json()["ready"])
    return False


def until(true: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def submit(url: str, kind: str, body: object, key: str | None = None) -> dict[str, Any]:
    headers = {"Idempotency-Key": key} if key else {}
    answer = requests.post(f"{url}/v1/jobs/{kind}", json=body, headers=headers, timeout=60)
    while answer.status_code == 503:  # much is going on, or the queue is being started again
        answer = requests.post(f"{url}/v1/jobs/{kind}", json=body, headers=headers, timeout=60)
    assert answer.status_code == 202, answer.text
    view: dict[str, Any] = answer.json()
    return view


def look(url: str, job: str) -> dict[str, Any]:
    answer = requests.get(f"{url}/v1/jobs/{job}", timeout=60)
    while answer.status_code == 503:  # as above
        answer = requests.get(f"{url}/v1/jobs/{job}", timeout=60)
    view: dict[str, Any] = answer.json()
    return view


def wait_for(url: str, job: str, state: str, attempts: int = 1) -> None:
    until(lambda: (view := look(url, job)).get("state") == state and view["attempts"] >= attempts)


def result(url: str, job: str) -> bytes:
    return requests.get(f"{url}/v1/jobs/{job}/result", timeout=60).content


@pytest.fixture(scope="module", params=["postgres and a folder", "redis and a bucket"])
def both(
    request: pytest.FixtureRequest, checkpoints: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Replicas]:
    name, _, store = request.param.partition(" and a ")
    make = {"redis": redis_server, "postgres": postgres_server}[name]
    with contextlib.ExitStack() as stack:
        queue = stack.enter_context(make(tmp_path_factory.mktemp(name)))
        settings = {}
        if store == "bucket":
            url, settings = stack.enter_context(s3_server())
            settings = {**settings, "GAN_STORE": url}
        replicas = Replicas(queue, checkpoints, tmp_path_factory.mktemp("replicas"), settings)
        stack.callback(replicas.stop)
        yield replicas


def test_one_key_at_both_at_one_instant_is_one_job_with_one_result(both: Replicas) -> None:
    urls = both.start()
    with ThreadPoolExecutor(2) as pool:
        for index in range(4):
            body, key = {"model": "tiny", "n": 2, "output": "npz"}, f"key-{index}"
            one, two = pool.map(lambda url, body=body, key=key: submit(url, "sample", body, key)["id"], urls)  # type: ignore[misc]
            assert one == two
            wait_for(urls[0], one, "done")
            results = {result(url, one) for url in urls for _ in range(2)}
            assert len(results) == 1
    other = requests.post(
        f"{urls[1]}/v1/jobs/sample", json={"model": "tiny", "n": 3}, headers={"Idempotency-Key": "key-0"}, timeout=60
    )
    assert other.status_code == 409


def test_whichever_is_asked_the_other_shares_the_work(both: Replicas) -> None:
    urls = both.start()
    jobs = [submit(urls[0], "score", SCORE)["id"] for _ in range(2)]
    first = both.waiting()
    assert both.waiting(besides=first) != first
    assert [look(urls[1], job)["state"] for job in jobs] == ["running", "running"]
    both.open_gate()
    for job in jobs:
        wait_for(urls[1], job, "done")


def test_a_cancel_at_the_other_is_final_at_once_and_frees_who_runs_it(both: Replicas) -> None:
    both.start()
    job = submit(both.other_than(0), "score", SCORE)["id"]
    owner = both.waiting()
    elsewhere = both.other_than(owner)
    cancelled = requests.delete(f"{elsewhere}/v1/jobs/{job}", timeout=60).json()
    assert (cancelled["id"], cancelled["state"]) == (job, "cancelled")
    assert look(elsewhere, job)["state"] == "cancelled"
    both.open_gate()
    wait_for(elsewhere, submit(elsewhere, "score", SCORE)["id"], "done")
    assert look(elsewhere, job)["state"] == "cancelled"


def test_who_is_frozen_is_taken_over_and_changes_nothing_when_it_wakes(both: Replicas) -> None:
    urls = both.start()
    job = submit(urls[0], "score", SCORE)["id"]
    frozen = both.waiting()
    other = both.other_than(frozen)
    os.kill(frozen, signal.SIGSTOP)
    try:
        assert both.waiting(besides=frozen) != frozen
        wait_for(other, job, "running", attempts=2)
        both.open_gate()
        wait_for(other, job, "done", attempts=2)
        first = result(other, job)
    finally:
        os.kill(frozen, signal.SIGCONT)
    after = submit(other, "score", SCORE)["id"]  # by the time that this is done, it has been awake for a while
    wait_for(other, after, "done")
    for url in urls:
        assert look(url, job)["state"] == "done"
        assert result(url, job) == first


def test_who_is_killed_is_taken_over_and_a_cancel_of_the_dead_one_s_is_final(both: Replicas) -> None:
    urls = both.start()
    job = submit(urls[0], "score", SCORE)["id"]
    killed = both.waiting()
    both.kill(killed)
    other = both.other_than(killed)
    both.open_gate()
    wait_for(other, job, "done", attempts=2)
    assert look(other, job)["note"].startswith("Begun again")

    urls = both.start()
    job = submit(urls[0], "score", SCORE)["id"]
    killed = both.waiting()
    both.kill(killed)
    other = both.other_than(killed)
    assert requests.delete(f"{other}/v1/jobs/{job}", timeout=60).json()["state"] == "cancelled"
    both.open_gate()
    wait_for(other, submit(other, "score", SCORE)["id"], "done")
    assert look(other, job)["state"] == "cancelled"


def test_a_queue_that_is_gone_for_a_while_stops_nothing_else_and_takes_no_job_from_who_runs_it(both: Replicas) -> None:
    urls = both.start()
    job = submit(urls[0], "score", SCORE)["id"]
    both.waiting()
    kept = submit(urls[0], "sample", {"model": "tiny", "seed": 1, "output": "json"})["id"]
    wait_for(urls[0], kept, "done")
    with both.queue.frozen():
        end = time.monotonic() + DEAD_S + 1  # longer than who runs it may be silent
        while time.monotonic() < end:
            for url in urls:
                # within how many seconds, test_jobs.py says; here the rest of a busy machine has its part in it
                refused = requests.post(f"{url}/v1/jobs/sample", json={"model": "tiny"}, timeout=20)
                assert refused.status_code == 503, refused.text
                assert requests.get(f"{url}/v1/jobs/{job}", timeout=20).status_code == 503
                assert look(url, kept)["state"] == "done"
                assert requests.post(f"{url}/v1/sample", json={"model": "tiny"}, timeout=60).status_code == 200
                assert requests.get(f"{url}/v1/models", timeout=60).status_code == 200
    both.open_gate()
    wait_for(urls[0], job, "done")
    assert look(urls[1], job)["attempts"] == 1
    wait_for(urls[1], submit(urls[0], "sample", {"model": "tiny"})["id"], "done")


def test_a_queue_that_is_started_again_with_nothing_in_it_gets_all_jobs_back(both: Replicas) -> None:
    urls = both.start()
    jobs = [submit(urls[index % 2], "score", {**SCORE, "a_seed": index})["id"] for index in range(4)]
    both.waiting()
    both.queue.lose()
    both.open_gate()
    for job in jobs:
        until(lambda job=job: look(urls[0], job).get("state") == "done")  # type: ignore[misc]
    assert [look(urls[1], job)["state"] for job in jobs] == ["done"] * 4


@pytest.mark.parametrize("both", ["redis and a bucket"], indirect=True)
def test_behind_a_proxy_both_are_one_service(both: Replicas, tmp_path: Path) -> None:
    """Every request may go to the other one: to look at a job, to stay with it, and to fetch what came of it."""
    urls = both.start()
    both.open_gate()
    body = {"model": "tiny", "n": 2000, "seed": 1, "output": "npz"}
    with nginx(tmp_path, urls) as url:
        job = submit(url, "sample", body)["id"]
        seen: list[dict[str, Any]] = []

        def is_over() -> bool:
            seen.append(look(url, job))
            return seen[-1]["state"] not in ("queued", "running")

        until(is_over)
        assert seen[-1]["state"] == "done"
        assert [one["progress"]["done"] for one in seen] == sorted(one["progress"]["done"] for one in seen)
        assert len({result(url, job) for _ in range(4)}) == 1


@pytest.mark.parametrize("both", ["postgres and a folder"], indirect=True)
def test_many_results_are_all_kept(both: Replicas) -> None:
    """More than any cap that there was, and more than the replicas could take over from each other in a hurry."""
    urls = both.start()
    both.open_gate()
    body = {"model": "tiny", "output": "json"}
    with ThreadPoolExecutor(4) as pool:
        jobs = list(
            pool.map(lambda index: submit(urls[index % 2], "sample", {**body, "seed": index})["id"], range(270))
        )
    for job in jobs:
        wait_for(urls[0], job, "done")
    for index, job in enumerate(jobs):
        assert requests.get(f"{urls[index % 2]}/v1/jobs/{job}/result", timeout=60).json()["seeds"] == [index]


def test_of_two_that_keep_one_reference_at_one_instant_one_succeeds(both: Replicas) -> None:
    urls = both.start()
    both.open_gate()
    images = [("images", (path.name, path.read_bytes())) for path in sorted(CIFAR.glob("train/*/*.png"))[:4]]

    def keep(url: str, name: str) -> int:
        answer = requests.post(f"{url}/v1/references", data={"name": name}, files=images, timeout=60)
        return answer.status_code

    with ThreadPoolExecutor(2) as pool:
        for index in range(6):
            name = f"raced-{index}"
            assert sorted(pool.map(lambda url, name=name: keep(url, name), urls)) == [201, 409]  # type: ignore[misc]
            digests = {
                one["digest"]
                for url in urls
                for one in requests.get(f"{url}/v1/references", timeout=60).json()["references"]
                if one["name"] == name
            }
            assert len(digests) == 1
            assert requests.delete(f"{urls[index % 2]}/v1/references/{name}", timeout=60).status_code == 200

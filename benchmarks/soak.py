"""Every endpoint for minutes on end: memory, open files, threads and latency must stay where they are.

    python -m benchmarks.soak --minutes 10

Clients in closed loops ask for samples, interpolations, translations, jobs and their results, wrong addresses and
/metrics. A line for each tenth of the time; ends with 1 where the last tenth differs from the second (the first warms
up): 10 % and 32 MB more memory, 8 more files, 2 more threads, or twice the p99 of a sample.
"""

import argparse
import io
import itertools
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import requests
from PIL import Image

from benchmarks.serve_speed import OURS, Server, make_checkpoints, running

Step = Callable[[requests.Session, str, int], requests.Response]


@dataclass(frozen=True)
class State:
    """Of the worker, by its own metrics; `p50_ms` and `p99_ms` of the samples since the last look."""

    memory_mb: float
    files: float
    threads: float
    metrics_lines: int
    p50_ms: float
    p99_ms: float
    answers: int
    failures: int

    def __str__(self) -> str:
        return (
            f"{self.memory_mb:9.0f} {self.files:6.0f} {self.threads:8.0f} {self.metrics_lines:8d} "
            f"{self.p50_ms:9.1f} {self.p99_ms:9.1f} {self.answers:8d} {self.failures:9d}"
        )


HEADING = "memory MB  files  threads  metrics    p50 ms    p99 ms  answers  failures"


def photo(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((side, side), 50).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def job(session: requests.Session, url: str, index: int) -> requests.Response:
    """Submits a job, waits for its end and fetches its result."""
    body = {"model": "dcgan", "n": 8, "seed": index, "output": "zip"}
    path = f"{url}/v1/jobs/{session.post(f'{url}/v1/jobs/sample', json=body, timeout=120).json()['id']}"
    while session.get(path, timeout=120).json()["state"] in ("queued", "running"):
        time.sleep(0.05)
    result = session.get(f"{path}/result", timeout=120)
    session.delete(path, timeout=120)
    return result


def steps() -> dict[str, tuple[Step, int]]:
    """What clients do, and the status of a right answer."""
    small, large = photo(64), photo(128)
    form = lambda field, data: {field: ("a.jpg", data, "image/jpeg")}  # noqa: E731
    return {
        "sample": (lambda s, u, i: s.post(f"{u}/v1/sample", json={"model": "dcgan", "seed": i}, timeout=120), 200),
        "samples": (
            lambda s, u, i: s.post(f"{u}/v1/sample", json={"model": "dcgan", "n": 1 + i % 16}, timeout=120),
            200,
        ),
        "interpolate": (
            lambda s, u, i: s.post(
                f"{u}/v1/interpolate", json={"model": "dcgan", "seeds": [i, i + 1], "steps": 4}, timeout=120
            ),
            200,
        ),
        "openai": (
            lambda s, u, i: s.post(f"{u}/v1/images/generations", json={"model": "dcgan", "size": "64x64"}, timeout=120),
            200,
        ),
        "translate": (lambda s, u, i: s.post(f"{u}/v1/translate", files=form("images", large), timeout=120), 200),
        "inspect": (lambda s, u, i: s.post(f"{u}/v1/inspect", files=form("image", small), timeout=120), 200),
        "job": (job, 200),
        "models": (lambda s, u, i: s.get(f"{u}/v1/models", timeout=120), 200),
        "references": (lambda s, u, i: s.get(f"{u}/v1/references", timeout=120), 200),
        "wrong address": (lambda s, u, i: s.get(f"{u}/v1/absent/{i}", timeout=120), 404),
        "wrong body": (lambda s, u, i: s.post(f"{u}/v1/sample", json={f"a{i}": 0}, timeout=120), 400),
        "a new connection": (lambda s, u, i: requests.get(f"{u}/livez", timeout=120), 200),
        "page": (lambda s, u, i: s.get(u, timeout=120), 200),
        "metrics": (lambda s, u, i: s.get(f"{u}/metrics", timeout=120), 200),
    }


class Clients:
    """One thread for each kind of step, until `stop`; samples as fast as they are answered, the rest with pauses."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._latencies: list[float] = []
        self._answers = self._failures = 0
        self._threads = [
            threading.Thread(target=self._loop, args=(name, *step), daemon=True) for name, step in steps().items()
        ]
        for thread in self._threads:
            thread.start()

    def _loop(self, name: str, step: Step, status: int) -> None:
        session = requests.Session()
        for index in itertools.count():
            if self._done.wait(0 if name == "sample" else 0.2):
                return
            began = time.perf_counter()
            try:
                right = step(session, self._url, index).status_code == status
            except (requests.RequestException, KeyError):
                right = False
            with self._lock:
                self._answers += 1
                self._failures += not right
                if name == "sample":
                    self._latencies.append(time.perf_counter() - began)
            if not right:
                print(f"{name}: a wrong answer", file=sys.stderr)

    def look(self, worker_threads: Callable[[], int]) -> State:
        text = requests.get(f"{self._url}/metrics", timeout=120).text
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        with self._lock:
            ms = np.array(self._latencies) * 1000
            answers, failures = self._answers, self._failures
            self._latencies, self._answers, self._failures = [], 0, 0
        return State(
            float(values["process_resident_memory_bytes"]) / 2**20,
            float(values["process_open_fds"]),
            worker_threads(),
            len(text.splitlines()),
            float(np.percentile(ms, 50)),
            float(np.percentile(ms, 99)),
            answers,
            failures,
        )

    def stop(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()


def threads_of(port: int) -> Callable[[], int]:
    """Counts the threads of the process that computes: the child of whoever listens at `port`."""
    import psutil

    listeners = [c.pid for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port]
    worker = max((psutil.Process(pid) for pid in listeners if pid), key=lambda one: one.create_time())
    return worker.num_threads


def complaints(first: State, last: State) -> list[str]:
    checks = {
        "memory grows": last.memory_mb > first.memory_mb * 1.1 + 32,
        "files stay open": last.files > first.files + 8,
        "threads stay": last.threads > first.threads + 2,
        "series grow": last.metrics_lines > first.metrics_lines + 20,
        "p99 grows": last.p99_ms > first.p99_ms * 2,
        "wrong answers": last.failures > 0,
    }
    return [what for what, true in checks.items() if true]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        make_checkpoints(Path(name))
        with running(Server("ours", OURS, {}), Path(name)) as port:
            count = threads_of(port)
            clients = Clients(f"http://127.0.0.1:{port}")
            states = []
            print(f"minute {HEADING}")
            for tenth in range(1, 11):
                time.sleep(arguments.minutes * 6)
                states.append(clients.look(count))
                print(f"{tenth * arguments.minutes / 10:6.1f} {states[-1]}", flush=True)
            clients.stop()
    found = complaints(states[1], states[-1])
    print("flat" if not found else "; ".join(found))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())

"""One replica and two that share a store and Redis: samples, what a job costs, and progress seen from the other one.

    python -m benchmarks.replicas --rounds 5 --seconds 5

Needs redis-server. All servers run at once, and rounds alternate between them, so that what else the machine does meets
each alike. On one machine two replicas share the cores of one: what is compared is the cost of sharing, not a speed-up.
The exit status is 1 where progress was seen later than 2 s, or ran backwards.
"""

import argparse
import contextlib
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import requests

from benchmarks.load import Target, measure
from benchmarks.serve_speed import OURS, Server, make_checkpoints, running

CLIENTS = (1, 32)
MOST_LAG_S = 2.0


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """A server of its own; gives its address."""
    program = shutil.which("redis-server") or sys.exit("redis-server is not installed: apt-get install redis-server")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    process = subprocess.Popen([program, "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


def sampled(port: int, clients: int, seconds: float) -> float:
    """Images a second, one a request."""
    body = Server.body
    return measure(Target(port, "/v1/sample", "application/json", lambda index: body(index)), clients, seconds).rate


def both(ports: tuple[int, int], clients: int, seconds: float) -> float:
    """The same, of half the clients at each of two replicas at once."""
    rates = [0.0, 0.0]

    def load(index: int) -> None:
        command = [sys.executable, "-m", "benchmarks.replicas", "--load", str(ports[index]), str(clients), str(seconds)]
        rates[index] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    threads = [threading.Thread(target=load, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(rates)


def job_ms(port: int, seed: int) -> tuple[float, float]:
    """Milliseconds of a sample as a request, and as a job from its submission to its result."""
    url, body = f"http://127.0.0.1:{port}", {"model": "dcgan", "seed": seed}
    began = time.perf_counter()
    requests.post(f"{url}/v1/sample", json=body, timeout=60).raise_for_status()
    requested = time.perf_counter()
    job = requests.post(f"{url}/v1/jobs/sample", json=body, timeout=60).json()["id"]
    with requests.get(f"{url}/v1/jobs/{job}/events", stream=True, timeout=60) as events:
        for line in events.iter_lines():
            if line == b"event: end":
                break
    requests.get(f"{url}/v1/jobs/{job}/result", timeout=60).raise_for_status()
    return (requested - began) * 1000, (time.perf_counter() - requested) * 1000


def lag_s(worker: int, other: int, images: int) -> tuple[float, bool]:
    """The longest that a step of progress took from the replica that works to the other; whether any ran backwards."""
    told: tuple[dict[int, float], dict[int, float]] = ({}, {})
    body = {"model": "dcgan", "n": images, "seed": 1, "output": "zip"}
    job = requests.post(f"http://127.0.0.1:{worker}/v1/jobs/sample", json=body, timeout=60).json()["id"]
    backwards = False

    def watch(port: int, seen: dict[int, float]) -> None:
        nonlocal backwards
        last = 0
        while True:
            view = requests.get(f"http://127.0.0.1:{port}/v1/jobs/{job}", timeout=60).json()
            done = view["progress"]["done"]
            backwards |= done < last
            last = done
            seen.setdefault(done, time.perf_counter())
            if view["state"] not in ("queued", "running"):
                return
            time.sleep(0.05)

    threads = [threading.Thread(target=watch, args=pair) for pair in zip((worker, other), told, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The other sees some steps only: each of the worker's is there when the other first tells as much or more.
    first, second = told
    lags = [min(at for more, at in second.items() if more >= done) - at for done, at in first.items()]
    return max(lags), backwards


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement of samples")
    parser.add_argument("--images", type=int, default=3000, help="of the job whose progress is watched")
    parser.add_argument("--load", nargs=3, help=argparse.SUPPRESS)
    typed = parser.parse_args()
    if typed.load:
        port, clients, seconds = typed.load
        print(sampled(int(port), int(clients), float(seconds)))
        return 0
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        found = _measured(Path(folder), stack, typed)
    print(json.dumps(found, indent=2))
    return 0 if found["progress lag s"] <= MOST_LAG_S and not found["progress ran backwards"] else 1


def _measured(folder: Path, stack: contextlib.ExitStack, typed: argparse.Namespace) -> dict[str, object]:
    shared = {"GAN_JOBS": stack.enter_context(redis()), "GAN_STORE": str(folder / "shared")}
    ports = []
    for name, environment in (("alone", {}), ("first", shared), ("second", {**shared, "GAN_JOB_WORKER": "false"})):
        room = folder / name
        room.mkdir()
        make_checkpoints(room)
        ports.append(stack.enter_context(running(Server(name, OURS, environment), room)))
    alone, first, second = ports
    found: dict[str, object] = {}
    for clients in CLIENTS:
        rounds = [
            (
                sampled(alone, clients, typed.seconds),
                sampled(first, clients, typed.seconds),
                both((first, second), max(1, clients // 2), typed.seconds),
            )
            for _ in range(typed.rounds)
        ]
        found[f"images/s at {clients} clients"] = {
            name: round(statistics.median(column), 1)
            for name, column in zip(
                ("alone, in-process queue", "one of two, Redis", "both at once"), zip(*rounds, strict=True), strict=True
            )
        }
    for name, port in (("in-process queue", alone), ("Redis", first)):
        pairs = [job_ms(port, seed) for seed in range(20)]
        request, job = (statistics.median(column) for column in zip(*pairs, strict=True))
        found[f"a sample, ms, {name}"] = {"request": round(request, 1), "job": round(job, 1)}
    lag, backwards = lag_s(first, second, typed.images)
    return found | {"progress lag s": round(lag, 2), "progress ran backwards": backwards}


if __name__ == "__main__":
    sys.exit(main())

"""How long the event loop of a service stands still while its bucket is slow, full or read-only.

    python -m benchmarks.store_faults               some 2 minutes
    python -m benchmarks.store_faults --seconds 3   a look whether it runs

The service runs in this process, before moto's S3 server (`make test` installs it) and a proxy that is told to be slow
or to refuse. Clients in a process of their own draw samples, submit jobs, look at them and list references meanwhile.
The exit status is 1 where the loop stood still for 50 ms, or a sample failed.
"""

import argparse
import asyncio
import contextlib
import http.server
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
import uvicorn
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from benchmarks.passing import Passing
from benchmarks.serve_speed import ROOT, make_checkpoints
from models import console
from service.http.protocol import http_protocol
from service.routes import standalone
from service.runtime import Runtime
from service.settings import Settings

MOST_MS = 50.0
BEAT_S = 0.005
CLIENTS = 8
SLOW_S = 0.3  # of every request to the bucket
REFUSALS = {"full": (507, "InsufficientStorage"), "read-only": (403, "AccessDenied")}
FAULTS = ("none", "slow", *REFUSALS)


def proxy(behind: str, fault: Path) -> None:
    """Passes requests on to an S3 server, or does what the file `fault` says, until it is killed. Prints its port."""

    class Handler(Passing):
        def refused(self) -> tuple[int, str] | None:
            now = fault.read_text()
            if now == "slow":
                time.sleep(SLOW_S)
            return REFUSALS.get(now) if self.command != "GET" else None

    Handler.behind = behind
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


def load(url: str, seconds: float) -> Counter[str]:
    """What was answered, as "sample 200", by clients in closed loops."""
    end, answers = time.monotonic() + seconds, Counter[str]()
    lock = threading.Lock()

    def client(number: int) -> None:
        with requests.Session() as session:
            while time.monotonic() < end:
                job = session.post(f"{url}/v1/jobs/sample", json={"model": "dcgan", "n": 2}, timeout=60)
                seen = session.get(f"{url}/v1/jobs/{job.json().get('id', '0' * 32)}", timeout=60)
                listed = session.get(f"{url}/v1/references", timeout=60)
                drawn = session.post(f"{url}/v1/sample", json={"model": "dcgan", "seed": number}, timeout=60)
                with lock:
                    for name, one in (("submit", job), ("look", seen), ("list", listed), ("sample", drawn)):
                        answers[f"{name} {one.status_code}"] += 1

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    return answers


class Beat:
    """Looks how late the event loop is; `worst_ms` since it was last set to 0."""

    def __init__(self) -> None:
        self.worst_ms = 0.0

    async def __call__(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(BEAT_S)
            self.worst_ms = max(self.worst_ms, (time.perf_counter() - began - BEAT_S) * 1000)


async def measured(folder: Path, fault: Path, seconds: float) -> dict[str, Any]:
    runtime = Runtime(Settings(models=(folder,), store="s3://gan/kept"))
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    protocol: Any = http_protocol(runtime.settings)
    server = uvicorn.Server(uvicorn.Config(standalone(runtime), http=protocol, log_level="warning", lifespan="on"))
    serving, beat = asyncio.create_task(server.serve([listener])), Beat()
    while not (server.started and runtime.ready):
        await asyncio.sleep(0.1)
    beating = asyncio.create_task(beat())
    command = ("-m", "benchmarks.store_faults", "--load", url, str(fault), "--seconds", str(seconds))
    clients = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT, stdout=subprocess.PIPE)
    assert clients.stdout is not None
    found: dict[str, Any] = {}
    for name in FAULTS:
        await clients.stdout.readline()  # they begin
        beat.worst_ms = 0.0
        answers = json.loads(await clients.stdout.readline())
        found[name] = {"stood still for ms": round(beat.worst_ms, 1), "answers": answers}
    await clients.wait()
    beating.cancel()
    server.should_exit = True
    await serving
    return found


@contextlib.contextmanager
def bucket_server(program: Path) -> Iterator[str]:
    """The address of an S3 server that has the bucket `gan`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = (str(program), "-H", "127.0.0.1", "-p", str(port))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            with requests.Session() as session:  # as long as it starts, it refuses connections
                session.mount(address, HTTPAdapter(max_retries=Retry(connect=100, backoff_factor=0.1, backoff_max=1)))
                session.put(f"{address}/gan", timeout=30).raise_for_status()
            yield address
        finally:
            process.kill()


@contextlib.contextmanager
def proxied(behind: str, fault: Path) -> Iterator[str]:
    """The address of a `proxy` in a process of its own."""
    command = (sys.executable, "-m", "benchmarks.store_faults", "--proxy", behind, str(fault))
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each fault")
    parser.add_argument("--load", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--proxy", nargs=2, help=argparse.SUPPRESS)
    typed = parser.parse_args()
    if typed.load:
        url, fault = typed.load
        for name in FAULTS:
            Path(fault).write_text(name)
            print(name, flush=True)
            print(json.dumps(load(url, typed.seconds)), flush=True)
        Path(fault).write_text("none")
        return 0
    if typed.proxy:
        behind, fault = typed.proxy
        proxy(behind, Path(fault))
    s3 = ROOT / "build" / "s3" / "bin" / "moto_server"
    if not s3.is_file():
        sys.exit("The S3 server is not installed: make test does it.")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder, fault = Path(name), Path(name) / "fault"
        fault.write_text("none")
        make_checkpoints(folder)
        (folder / "horse.safetensors").unlink()
        behind = stack.enter_context(bucket_server(s3))
        os.environ |= {"AWS_ENDPOINT": stack.enter_context(proxied(behind, fault)), "AWS_REGION": "us-east-1"}
        os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        report = stack.enter_context(os.fdopen(os.dup(sys.stdout.fileno()), "w"))
        console.silence(sys.stdout)  # to which the service logs every request
        found = asyncio.run(measured(folder, fault, typed.seconds))
        print(json.dumps(found, indent=2), file=report)
    still = max(one["stood still for ms"] for one in found.values())
    failed = [
        name for one in found.values() for name in one["answers"] if name.startswith("sample") and "200" not in name
    ]
    return 0 if still < MOST_MS and not failed else 1


if __name__ == "__main__":
    sys.exit(main())

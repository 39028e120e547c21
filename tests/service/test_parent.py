"""The worker and the process that started it, for real."""

import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import requests

ROOT = Path(__file__).parents[2]


def test_a_worker_whose_arbiter_was_killed_stops_whoever_still_reads(
    checkpoints: Path, tmp_path: Path, free_port: int, wait_until: Callable[..., None], serving: Callable[..., dict]
) -> None:
    url, log = f"http://127.0.0.1:{free_port}", tmp_path / "log"
    environment = serving(tmp_path, checkpoints) | {"GAN_SEND_S": "1"}
    command = [sys.executable, "-m", "bentoml", "serve", "service.app:GanService", "--port", str(free_port)]
    with log.open("wb") as output:
        arbiter = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        wait_until(lambda: requests.get(f"{url}/readyz", timeout=2).status_code == 200, "readiness", 400)
        (worker,) = psutil.Process(arbiter.pid).children()
        body = {"model": "tiny", "n": 3000, "output": "zip"}
        job = requests.post(f"{url}/v1/jobs/sample", json=body, timeout=300).json()["id"]
        wait_until(lambda: requests.get(f"{url}/v1/jobs/{job}", timeout=60).json()["state"] == "done", "the job's end")
        with socket.socket() as reader:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect(("127.0.0.1", free_port))
            reader.sendall(f"GET /v1/jobs/{job}/result HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert reader.recv(1) == b"H"  # and no more
            arbiter.send_signal(signal.SIGKILL)
            wait_until(lambda: not worker.is_running(), "the worker's end")
        assert "Traceback" not in log.read_text()
    finally:
        for process in [*psutil.Process(arbiter.pid).children(), psutil.Process(arbiter.pid)]:
            process.kill()
        arbiter.wait()
    with socket.socket() as another:
        another.bind(("127.0.0.1", free_port))  # the port is free for the next

"""A server started by a command, as a person would start it, and stopped by a signal."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import requests

Serve = Callable[[Sequence[str], Path, Mapping[str, str]], AbstractContextManager[str]]

# What a person's shell holds: without what a `make test` around these tests says to the makes that they start.
SHELL = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}

READY_WITHIN_S = 120  # a limit against hanging, generous: a busy machine starts slowly


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Iterator[str]:
    """The command, "{port}" in it replaced by a free one, until it is ready; gives its address, then ends it."""
    port = free_port()
    words = [word.format(port=port) for word in command]
    url = f"http://127.0.0.1:{port}"
    log = cwd / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env={**SHELL, **env},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + READY_WITHIN_S
        while not is_ready(url):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.1)
            if process.returncode is not None or time.monotonic() > deadline:
                pytest.fail(f"{' '.join(words)}: exit status {process.returncode}\n{log.read_text()[-3000:]}")
        yield url
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def is_ready(url: str) -> bool:
    """Whether the server says so; before its worker is up, the port may accept a connection and not answer."""
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{url}/readyz", timeout=2).ok
    return False


@pytest.fixture(scope="session")
def serve() -> Serve:
    return serving

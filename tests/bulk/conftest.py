"""Shared by the tests of bulk/: the command in a process of its own, over actors that can be killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.service.servers import family

ROOT = Path(__file__).resolve().parents[2]
HORSES = sorted((ROOT / "tests" / "fixtures" / "horse2zebra" / "testA").iterdir())
PRETRAINED = ROOT / "models" / "pretrained"
WITHIN_S = 500  # against hanging, not a measure


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "bulk", *map(str, arguments)]


# Workers are started when there is work for them, and a machine that is gone is missed after a second, not fifteen.
RAY = {
    "RAY_worker_niceness": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "2",
}


def surroundings(env: Mapping[str, str] | None = None) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"} | RAY | dict(env or {})


@contextlib.contextmanager
def begun(*arguments: object, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """`python -m bulk` while it runs; ended with all its descendants where a test is over before it."""
    with subprocess.Popen(
        command(*arguments), cwd=ROOT, env=surroundings(env), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                for one in family(process.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(one, 9)


def wait_until(happened: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Until something has happened; fails where the process is over before that."""
    end = time.monotonic() + WITHIN_S
    while not happened():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < end
        time.sleep(0.02)


def actors_of(process: int) -> list[int]:
    """The processes below it that hold a network."""
    titles = {one: _title(one) for one in family(process)}
    return [one for one, title in titles.items() if b"_Actor" in title]


def _title(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:  # over meanwhile
        return b""


@pytest.fixture(scope="session")
def horses() -> list[Path]:
    return HORSES

"""The BentoML service's module: importing it does nothing, and wrong settings end the start with a sentence."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
POISON = {"GAN_DEVICE": "abacus", "GAN_NOTHING": "x", "GAN_API_KEYS": "plain", "GAN_STORE": "/dev/null/store"}
IMPORT = """
import threading
import service.app
assert service.app.runtime.cache_info().currsize == 0
print(*(thread.name for thread in threading.enumerate()))
"""


def run(command: list[str], folder: Path, **environment: str) -> Any:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GAN_")}
    kept |= {"BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True"}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=kept | environment, capture_output=True, text=True, timeout=300
    )


def test_importing_it_reads_no_environment_and_starts_no_thread(tmp_path: Path) -> None:
    done = run(["-c", IMPORT], tmp_path, **POISON)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["MainThread"]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("GAN_MAXBATCH", "8", "GAN_MAXBATCH: "),
        ("GAN_STORE", "/dev/null/store", "store cannot be used"),
        ("GAN_JOBS", "redis://:secret@127.0.0.1:1/0", "redis://127.0.0.1:1/0 cannot be used"),
    ],
)
def test_wrong_settings_end_the_start_with_a_sentence(
    tmp_path: Path, free_port: int, name: str, value: str, says: str
) -> None:
    command = ["-m", "bentoml", "serve", "service.app:GanService", "--port", str(free_port)]
    done = run(command, tmp_path, **{name: value})
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert says in said
    assert "Traceback" not in said
    assert "secret" not in said

"""Every command block of the README runs, as written, against the server that its first block starts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "http://localhost:3000"
# A prompt or an answer shown to the reader, not a command.
SHOWN = {"text", "json"}
# Failing answers fail the block: curl alone would save the error and succeed.
STRICT = 'set -euo pipefail\ncurl() { command curl --silent --show-error --fail-with-body "$@"; }\n'


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"line-{self.line}-{self.language}"


def blocks() -> list[Block]:
    readme = (ROOT / "README.md").read_text()
    fences = re.finditer(r"^```(\w*)\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    return [Block(found[1], found[2], readme[: found.start()].count("\n") + 1) for found in fences]


COMMANDS = [block for block in blocks() if block.language not in SHOWN]
SERVE, TEST = COMMANDS[:2]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the clone, so that what the commands write stays out of it."""
    folder = tmp_path_factory.mktemp("clone")
    for entry in ROOT.iterdir():
        if entry.name not in {".git", ".venv", "build", "data", "runs"}:
            (folder / entry.name).symlink_to(entry)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.fixture(scope="module")
def url(workspace: Path, serve) -> Iterator[str]:
    """`make serve`, as the README says, on a free port."""
    with serve(["make", "--no-print-directory", *SERVE.text.split()[1:], "PORT={port}"], workspace, {}) as address:
        yield address


def test_the_two_commands_stand_at_the_top() -> None:
    assert (SERVE.text, TEST.text) == ("make serve\n", "make test\n")
    assert {block.language for block in COMMANDS} <= {"bash", "python"}


def test_make_test_runs_this_suite() -> None:
    plan = subprocess.run(["make", "-n", "test"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert plan.splitlines()[-1].split()[-3:-1] == ["-m", "pytest"] or plan.rstrip().endswith("-m pytest")


@pytest.mark.parametrize("block", COMMANDS[2:], ids=str)
def test_block_runs_as_written(block: Block, url: str, workspace: Path) -> None:
    text = block.text.replace(ADDRESS, url)
    if block.language == "python":
        command = [sys.executable, "-c", text]
    else:
        # Other targets of make would train for hours or build an image: what they would run must be known.
        command = ["bash", "-c", STRICT + re.sub(r"^make ", "make --dry-run ", text, flags=re.MULTILINE)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=workspace, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"README.md:{block.line}\n{text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    for name in re.findall(r"(?:-o|--output|>) (\S+)", text):
        assert_whole(workspace / name)


def assert_whole(path: Path) -> None:
    """A file that a block wrote is what its name says."""
    assert path.stat().st_size > 0, path.name
    match path.suffix:
        case ".png" | ".jpg" | ".webp" | ".gif":
            with Image.open(path) as image:
                image.load()
        case ".zip":
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None
        case ".npz":
            with np.load(path) as arrays:
                assert arrays.files


@pytest.mark.parametrize("language", ["bash", "python"])
@pytest.mark.parametrize("endpoint", ["sample", "interpolate", "translate", "score", "models"])
def test_each_endpoint_has_its_example(endpoint: str, language: str) -> None:
    assert any(f"/v1/{endpoint}" in block.text for block in COMMANDS if block.language == language)

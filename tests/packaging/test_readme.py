"""Every command of the README runs, as written, against the server that its first block starts."""

from __future__ import annotations

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

import metrics
from service.endpoints.table import OPERATIONS
from tests.packaging.conftest import SHELL, Serve

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "http://localhost:3000"
# Answers and excerpts shown to the reader, not commands.
SHOWN = {"text", "json", "yaml"}
# Failing answers fail the block: curl alone would save the error and succeed.
STRICT = 'set -euo pipefail\ncurl() { command curl --silent --show-error --fail-with-body "$@"; }\n'
NEEDS_WEIGHTS = re.compile(r"/v1/(score|references)|metrics (score|stats)|\.(score|references)\(")


@dataclass(frozen=True)
class Block:
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"README.md:{self.line}"


def blocks(text: str) -> Iterator[Block]:
    """Code blocks, and the calls in the table of endpoints."""
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$|^\| [^\n]* `(curl [^\n]*)` \|$", text, re.MULTILINE | re.DOTALL):
        line = text[: found.start()].count("\n") + 1
        if found[3] is not None:
            yield Block(line, "bash", found[3])
        elif found[1] not in SHOWN:
            yield Block(line, found[1], found[2])


README = (ROOT / "README.md").read_text()
COMMANDS = list(blocks(README))
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
def url(workspace: Path, serve: Serve) -> Iterator[str]:
    """`make serve`, as the README says, on a free port, and with time for scores on a machine that has other work."""
    command = [*SERVE.text.split(), "PORT={port}"]
    with serve(command, workspace, {"GAN_DEADLINE_S": "300"}) as address:
        yield address


def test_the_two_commands_stand_at_the_top() -> None:
    assert (SERVE.text, TEST.text) == ("make serve\n", "make test\n")
    assert {block.language for block in COMMANDS} <= {"bash", "python"}


def test_make_test_runs_pytest() -> None:
    """Typed in a shell, and so too where these tests are themselves run by `make test`."""
    plan = subprocess.run(["make", "-n", "test"], cwd=ROOT, env=SHELL, check=True, capture_output=True, text=True)
    assert plan.stdout.splitlines()[-1].split()[1:3] == ["-m", "pytest"]


def test_ci_runs_the_same_command_in_an_empty_shell() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert script.splitlines()[-1] == f"newcomer {TEST.text}".strip()
    assert 'newcomer() { env -i PATH="$PATH" HOME="$HOME" LANG=C.UTF-8 "$@"; }' in script


@pytest.mark.parametrize("block", COMMANDS[2:], ids=str)
def test_block_runs_as_written(block: Block, url: str, workspace: Path) -> None:
    if NEEDS_WEIGHTS.search(block.text) and not metrics.cached_weights().is_file():
        pytest.skip("the Inception weights are not at hand: make weights")
    text = block.text.replace(ADDRESS, url)
    if block.language == "python":
        command = [sys.executable, "-c", text]
    else:
        # Other targets of make would train for hours or build an image: what they would run must be known.
        command = ["bash", "-c", STRICT + re.sub(r"^make ", "make --dry-run ", text, flags=re.MULTILINE)]
    environment = {**SHELL, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=workspace, env=environment, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, f"{block}\n{text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    for name in re.findall(r"(?<= -o )\S+|(?<=open\(\")[^\"]+(?=\", \"wb\")", text):
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


def test_each_endpoint_has_its_call() -> None:
    rows = re.findall(
        r"^\| \[(\w+)\]\(docs/api/(\w+)\.md\) \|.*\| `curl \S+/v1/([\w/]+) ?.*` \|$", README, re.MULTILINE
    )
    assert [name for name, _, path in rows if name != path.split("/")[0]] == []
    assert {name for name, _, _ in rows} == {operation.path.split("/")[2] for operation in OPERATIONS}
    assert [page for _, page, _ in rows if not (ROOT / "docs" / "api" / f"{page}.md").is_file()] == []


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(README.splitlines()) <= 160

"""What a run skipped is said in a line for each reason, whether or not its tests are spread over processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import pytest

@pytest.fixture
def browser():
    pytest.skip("no browser here")

def test_one(browser): ...
def test_two(browser): ...
def test_three(): ...
def test_four(): pytest.skip("no registry here")
"""


@pytest.mark.parametrize("spread", [(), ("-p", "xdist", "-n", "2")])
def test_each_reason_is_one_line(spread: tuple[str, ...], tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]")
    (tmp_path / "test_some.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", *spread]
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith("skipped ")]
    assert sorted(said) == ["skipped 1: no registry here", "skipped 2: no browser here"]

"""One style, said in several places: what an editor, a commit and CI hold to is what `make lint` checks."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.packaging.conftest import SHELL

ROOT = Path(__file__).resolve().parents[2]


def test_editors_and_linters_agree_on_the_width_of_lines() -> None:
    editor = configparser.ConfigParser()
    editor.read_string("[top]\n" + (ROOT / ".editorconfig").read_text())
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]
    biome = json.loads((ROOT / "biome.json").read_text())["formatter"]
    assert int(editor["*"]["max_line_length"]) == ruff["line-length"] == biome["lineWidth"]
    assert editor["*"]["indent_style"] == biome["indentStyle"]
    assert int(editor["*"]["indent_size"]) == biome["indentWidth"]


def test_a_commit_is_checked_by_make_lint() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]] == ["make lint"]


def test_the_pages_linter_is_pinned() -> None:
    package = json.loads((ROOT / "package.json").read_text())
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    for name, version in package["devDependencies"].items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), f"{name} {version}"
        assert locked[f"node_modules/{name}"]["version"] == version


@pytest.mark.parametrize("npm", [True, False])
def test_make_lint_checks_the_page_where_npm_is_at_hand(tmp_path: Path, npm: bool) -> None:
    """A folder of tools, with npm or without, is all that make finds."""
    for tool in ("make", "sh", "bash", "dirname", "python3.11", "python3"):
        if found := shutil.which(tool):
            (tmp_path / tool).symlink_to(found)
    if npm:
        (tmp_path / "npm").write_text("#!/bin/sh\n")
        (tmp_path / "npm").chmod(0o755)
    environment = {**SHELL, "PATH": os.fspath(tmp_path)}
    plan = subprocess.run(["make", "-n", "lint"], cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    last = plan.stdout.splitlines()[-1]
    assert last == "node_modules/.bin/biome ci" if npm else "npm is not installed here" in last


def test_the_pages_files_can_be_read_in_one_sitting() -> None:
    files = [*(ROOT / "service" / "static").glob("*.js"), *(ROOT / "service" / "static").glob("*.css")]
    assert [path.name for path in files if len(path.read_text().splitlines()) > 350] == []

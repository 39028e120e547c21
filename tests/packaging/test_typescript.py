"""The TypeScript client, generated from the OpenAPI document, type-checked, and run by node against the service."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import checkpoints, local  # noqa: F401  fixtures

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "typescript"


def run(*command: object, folder: Path) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_generated_client_draws_follows_and_reads_errors(local: Any, tmp_path: Path) -> None:  # noqa: F811
    if not (CLIENT / "node_modules" / ".bin" / "tsc").exists() or shutil.which("node") is None:
        pytest.skip("what generates the TypeScript client is not installed: make typescript does it")
    for name in ("package.json", "tsconfig.json", "client.ts", "example.ts"):
        shutil.copy(CLIENT / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(CLIENT / "node_modules")
    (tmp_path / "openapi.json").write_text(run(sys.executable, "-m", "service.routes", folder=ROOT))
    run("npm", "run", "generate", folder=tmp_path)
    run("npm", "run", "build", folder=tmp_path)
    told = json.loads(run("node", "dist/example.js", local.url, "tiny", folder=tmp_path))
    assert told.pop("bytes") > 100
    assert {"state", "end"} <= set(told.pop("events"))
    assert told == {
        "translator": "horse",
        "seeds": "7,8",
        "state": "done",
        "result": 200,
        "refused": "invalid_input",
    }

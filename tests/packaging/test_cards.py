"""The cards of shipped models are about the files beside them, and name code that a reader can check out."""

import re
import subprocess
from pathlib import Path

import pytest

from models import load
from models.files import sha256_of

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "models" / "pretrained").glob("*.safetensors"))


@pytest.mark.parametrize("checkpoint", SHIPPED, ids=lambda path: path.stem)
def test_a_card_is_about_the_file_beside_it(checkpoint: Path) -> None:
    card = checkpoint.with_suffix(".md").read_text()
    code = load(checkpoint).metadata.training["code"]
    assert f"| SHA-256 | `{sha256_of(checkpoint)}` |" in card
    assert f"| Code | `{code}`" in card


@pytest.mark.parametrize("checkpoint", SHIPPED, ids=lambda path: path.stem)
def test_the_code_of_a_card_is_in_the_history(checkpoint: Path) -> None:
    """`+` says that files had changed since; "unknown" that the run was outside of a repository."""
    found = re.search(r"^\| Code \| `(\w+)\+?`", checkpoint.with_suffix(".md").read_text(), re.MULTILINE)
    assert found is not None
    if found[1] == "unknown":
        return
    asked = ["git", "merge-base", "--is-ancestor", found[1], "HEAD"]
    assert subprocess.run(asked, cwd=ROOT, check=False, capture_output=True).returncode == 0

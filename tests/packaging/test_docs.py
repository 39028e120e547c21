"""Documents lead somewhere: every link, every heading linked to, every file of the repository that is named."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


DOCUMENTS = [path for path in tracked() if path.suffix == ".md"]


def anchors(document: Path) -> set[str]:
    """The headings as GitHub names them in addresses."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", document.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_are_there(document: Path) -> None:
    """Paths from the root, or from service/; NAME stands for what a reader will write."""
    named = set(re.findall(r"`([\w-]+/[\w/-]+\.(?:py|md|json|js|toml|yaml))`", document.read_text()))
    there = {name for name in named if (ROOT / name).exists() or (ROOT / "service" / name).exists()}
    assert sorted(name for name in named - there if "NAME" not in name) == []


def test_every_picture_in_docs_is_shown_somewhere() -> None:
    shown = {
        (document.parent / link).resolve()
        for document in DOCUMENTS
        for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text())
    }
    used = {ROOT / "docs" / "horse.jpg"}  # by the README's commands
    assert [
        path.name
        for path in tracked()
        if path.suffix in {".webp", ".jpg"} and path.parent.name == "docs" and path not in shown | used
    ] == []

"""Documents lead somewhere: every link, every heading linked to, every file of the repository that is named."""

from __future__ import annotations

import re
import subprocess
import tomllib
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


def test_the_picture_shows_the_floors_that_the_linter_holds() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    picture = next(
        block for block in re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL) if " app " in block
    )
    drawn = [names.split(" | ") for names in re.findall(r"^ (\w+(?: \| \w+)*)  ", picture, re.MULTILINE)]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (floors,) = [contract["layers"] for contract in contracts if contract.get("containers") == ["service"]]
    assert drawn == [floor.split(" | ") for floor in floors]


@pytest.mark.parametrize("room", ["models", "metrics", "training"])
def test_every_folder_of_the_other_rooms_is_named(room: str) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    (words,) = re.findall(rf"^- \*\*{room}\*\*: (.*?)(?=^- |^$)", text, re.MULTILINE | re.DOTALL)
    folders = {path.parent.name for path in (ROOT / room).glob("*/*.py")}
    assert folders - set(re.findall(r"`(\w+)`", words)) == set()


def test_every_thread_is_in_the_table() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    code = "".join(path.read_text() for path in (ROOT / "service").rglob("*.py"))
    named = re.findall(
        r'(?:(?:ThreadPoolExecutor|SharedThreads)\(.*?, |Worker\(\s*|Thread\(.*name=)f?"([\w-]+?)-?["{]', code
    )
    assert {"sample", "encode", "score", "logs"} <= set(named)
    assert sorted(name for name in named if not re.search(rf"`{name}(?:-DEVICE)?`", text)) == []

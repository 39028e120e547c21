"""The rooms know one another in one direction only, by what each one's `__init__` promises."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Whom each room may import. Nothing imports training or bulk: the container holds neither.
KNOWS = {
    "models": frozenset[str](),
    "metrics": frozenset({"models"}),
    "training": frozenset({"models", "metrics"}),
    "service": frozenset({"models", "metrics"}),
    "bulk": frozenset({"models", "metrics"}),
}
REQUIREMENTS = {  # beside requirements.txt
    "training": "requirements-train.txt",
    "service": "requirements-scale.txt",
    "bulk": "requirements-bulk.txt",
}


@dataclass(frozen=True)
class Import:
    """`from module import name`, or `import module` with an empty name."""

    file: Path
    line: int
    module: str
    name: str
    optional: bool  # inside try: ... except ImportError, with a way on without it

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}: {self.module} {self.name}".rstrip()


def imports_of(file: Path) -> Iterator[Import]:
    tree = ast.parse(file.read_text())
    guarded = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.Try) and any("ImportError" in ast.dump(handler) for handler in node.handlers)
        for statement in node.body
        for child in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, "", node in guarded)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: rooms import by full name, not relatively"
            for alias in node.names:
                yield Import(file, node.lineno, node.module or "", alias.name, node in guarded)


def imports_in(room: str) -> list[Import]:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files, f"{room}/ holds no Python files"
    return [item for file in files for item in imports_of(file)]


def promised_by(package: ModuleType) -> list[str]:
    """Its `__all__`; a package without one promises nothing."""
    return list(getattr(package, "__all__", []))


def top(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("room", KNOWS)
def test_imports_run_one_way(room: str) -> None:
    others = KNOWS.keys() - KNOWS[room] - {room} | {"tests", "benchmarks", "deploy"}
    assert [str(item) for item in imports_in(room) if top(item.module) in others] == []


@pytest.mark.parametrize("room", KNOWS)
def test_rooms_use_only_what_others_promise(room: str) -> None:
    """What one room takes from another stands in the other's `__all__`; no other file is promised."""
    unpromised = []
    for item in imports_in(room):
        other = top(item.module)
        if other in KNOWS[room]:
            promised = promised_by(importlib.import_module(other))
            if item.name not in promised and (item.module, item.name) != (other, ""):
                unpromised.append(str(item))
    assert unpromised == []


@pytest.mark.parametrize("room", KNOWS)
def test_all_is_what_the_package_exports(room: str) -> None:
    package = importlib.import_module(room)
    tree = ast.parse((ROOT / room / "__init__.py").read_text())
    bound: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom) and getattr(node, "module", "") != "__future__":
            bound |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Assign):
            bound |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    public = sorted(name for name in bound if not name.startswith("_"))
    assert sorted(promised_by(package)) == public
    assert all(hasattr(package, name) for name in public)


@pytest.mark.parametrize("room", KNOWS)
def test_each_library_is_required_by_name(room: str) -> None:
    """A room imports the libraries that its own requirements name, not what these happen to bring along."""
    named = required("requirements.txt") | required(REQUIREMENTS.get(room, "requirements.txt"))
    distributions = importlib.metadata.packages_distributions()
    missing = {
        str(item)
        for item in imports_in(room)
        if top(item.module) not in sys.stdlib_module_names | KNOWS.keys()
        and not item.optional
        and not any(canonical(name) in named for name in distributions.get(top(item.module), []))
    }
    assert sorted(missing) == []


def required(file: str) -> set[str]:
    lines = (ROOT / file).read_text().splitlines()
    return {canonical(line.split("==")[0]) for line in lines if "==" in line}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

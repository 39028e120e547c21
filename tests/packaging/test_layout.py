"""Files stay small, folders shallow, tests mirror the code, and the lists that must agree do."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.packaging.conftest import SHELL

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("models", "metrics", "training", "service", "bulk")
CODE = {"client": "client/gan_client"}  # of the other rooms: the room itself
SHIPPED = ("models", "metrics", "service")  # in the container and in the bento
MOST_LINES = 350
REQUIREMENTS = tuple(f"requirements{kind}.txt" for kind in ("", "-scale", "-train", "-bulk", "-dev"))


def files_of(room: str, pattern: str = "*") -> list[Path]:
    files = (path for path in (ROOT / room).rglob(pattern) if path.is_file())
    return sorted(path for path in files if "__pycache__" not in path.parts)


def pins(file: str) -> dict[str, str]:
    """Name, normalised, to version; every line that is not a comment or an -r is an exact pin."""
    lines = [line.split("#")[0].strip() for line in (ROOT / file).read_text().splitlines()]
    pinned = [line.split("==") for line in lines if line and not line.startswith("-r ")]
    assert all(len(pin) == 2 for pin in pinned), f"{file}: {[pin for pin in pinned if len(pin) != 2]}"
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pinned}


@pytest.mark.parametrize("room", [*ROOMS, "client"])
def test_files_can_be_read_in_one_sitting(room: str) -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files_of(room, "*.py")}
    assert {path: length for path, length in lengths.items() if length > MOST_LINES} == {}


@pytest.mark.parametrize("room", [*ROOMS, "client"])
def test_folders_are_at_most_two_deep(room: str) -> None:
    depths = {str(path.relative_to(ROOT)): len(path.relative_to(ROOT).parts) - 1 for path in files_of(room)}
    assert {path: depth for path, depth in depths.items() if depth > 2} == {}


@pytest.mark.parametrize("room", [*ROOMS, "client"])
def test_tests_mirror_the_rooms(room: str) -> None:
    """tests/<room>/<folder>/test_<module>.py, or test_<module>_<aspect>.py where one file would be too long."""
    assert [path for path in files_of("tests", "*.py") if path.name == "__init__.py"] == []
    wrong = []
    for path in files_of(f"tests/{room}", "test_*.py"):
        folder = ROOT / CODE.get(room, room) / path.relative_to(ROOT / "tests" / room).parent
        subject = path.stem.removeprefix("test_").split("_")
        names = ["_".join(subject[:count]) for count in range(1, len(subject) + 1)]
        if not any((folder / f"{name}.py").is_file() for name in names):
            wrong.append(str(path.relative_to(ROOT)))
    assert wrong == []


def test_requirements_agree_with_the_constraints() -> None:
    constraints = pins("constraints.txt")
    for file in REQUIREMENTS:
        for name, version in pins(file).items():
            assert constraints.get(name) == version, f"{file} pins {name}=={version}"


def test_the_environment_is_the_pinned_one() -> None:
    """What these tests ran with is what the constraints say: a green run speaks for the pins."""
    installed = {name: importlib.metadata.version(name).split("+")[0] for name in pins("constraints.txt")}
    assert installed == pins("constraints.txt")


def test_the_container_and_the_bento_hold_the_same_rooms() -> None:
    bento = yaml.safe_load((ROOT / "bentofile.yaml").read_text())
    assert sorted(bento["include"]) == sorted(f"{room}/**" for room in SHIPPED)
    context = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in context
    assert {line[1:] for line in context if line.startswith("!")} == {
        *SHIPPED,
        "requirements.txt",
        "requirements-scale.txt",
        "constraints.txt",
    }
    dockerfile = (ROOT / "Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (.*) \S+$", dockerfile, re.MULTILINE) for word in line.split()]
    assert sorted(copied) == sorted([*SHIPPED, "requirements.txt", "requirements-scale.txt", "constraints.txt"])


def test_the_dockerfile_ends_without_root_and_with_a_health_check() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users
    assert users[-1] not in {"root", "0"}
    assert any(line.startswith("HEALTHCHECK ") for line in lines)
    assert any(line.startswith("ARG BASE=") for line in lines)
    assert "ARG DEVICE=cpu" in lines


@pytest.mark.parametrize(
    ("arguments", "installed"),
    [
        ({}, []),
        ({"EXTRAS": "c2pa-python pillow-heif"}, ["c2pa-python", "pillow-heif"]),
        ({"ENGINE": "openvino"}, ["openvino"]),
        ({"ENGINE": "openvino", "EXTRAS": "pillow-heif"}, ["pillow-heif", "openvino"]),
    ],
    ids=["none", "extras", "engine", "both"],
)
def test_the_image_takes_optional_packages(arguments: dict[str, str], installed: list[str], tmp_path: Path) -> None:
    """The shell of the instruction itself, with a pip that tells what it is to install."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    defaults = dict(re.findall(r"^ARG (ENGINE|EXTRAS)=(.*)$", dockerfile, re.MULTILINE))
    ((instruction),) = re.findall(r"^RUN --mount=\S+ \\\n((?:.*\\\n)*.*\$EXTRAS.*)$", dockerfile, re.MULTILINE)
    pip = tmp_path / "pip"
    pip.write_text('#!/bin/sh\necho "$@"\n')
    pip.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **defaults, **arguments}
    ran = subprocess.run(["sh", "-c", instruction], env=environment, check=True, capture_output=True, text=True)
    assert ran.stdout.partition("-c constraints.txt")[2].split() == installed
    pinned = (ROOT / "constraints.txt").read_text()
    assert all(f"\n{name}==" in pinned for name in installed)


def test_the_layering_rule_of_the_linter_names_every_room() -> None:
    """`make lint` holds the same arrows as tests/packaging/test_imports.py, by import-linter."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert sorted(settings["root_packages"]) == sorted([*ROOMS, "gan_client"])
    assert settings["contracts"][0]["layers"] == ["training | service | bulk", "metrics", "models"]


def test_make_lists_its_targets() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, env=SHELL, check=True, capture_output=True, text=True).stdout
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split())
    assert set(re.findall(r"^  make (\S+)", shown, re.MULTILINE)) == targets

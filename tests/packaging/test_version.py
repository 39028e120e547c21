"""One version: `service.__version__`, and all that tells it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

from service import __version__
from service.endpoints.table import OPERATIONS
from service.http.openapi import document

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_is_a_semantic_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_the_project_reads_it_from_the_service() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "service.__version__"}


def test_the_openapi_document_tells_it() -> None:
    assert document(OPERATIONS)["info"]["version"] == __version__


def test_the_changelog_begins_with_it() -> None:
    headings = re.findall(r"^## (\S+) - (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0][0] == __version__
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", date) for _, date in headings[1:])


def test_the_manifests_deploy_it() -> None:
    for folder, name in (("pod", "gan-service"), ("bulk", "gan-bulk")):
        kustomization = yaml.safe_load((ROOT / "deploy" / "kubernetes" / folder / "kustomization.yaml").read_text())
        assert [(image["name"], image["newTag"]) for image in kustomization["images"]] == [(name, __version__)]
    compose = yaml.safe_load((ROOT / "deploy" / "compose" / "compose.yaml").read_text())
    assert compose["services"]["web"]["image"] == f"gan-service:{__version__}"
    assert f"gan-bulk:{__version__}" in (ROOT / "deploy" / "bulk.Dockerfile").read_text()

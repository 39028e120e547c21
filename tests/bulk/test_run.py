"""What a run leaves beside its results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bulk.run import Plan, run
from models import ConflictError

ABOUT = {"command": "translate", "model": "m", "direction": "a_to_b"}


def plan(folder: Path, *broken: str, total: int = 3, **about: str) -> Plan:
    """A run of which nothing is left to do."""
    listed = tuple((name, f"{name} is broken") for name in broken)
    return Plan(str(folder), ABOUT | about, total, total, lambda actors: iter(()), listed)


def test_broken_inputs_are_listed_and_the_list_goes_with_them(tmp_path: Path) -> None:
    assert run(plan(tmp_path, "b.jpg", "a.jpg")) == 2
    lines = [json.loads(line) for line in (tmp_path / "errors.jsonl").read_text().splitlines()]
    assert lines == [{"name": name, "error": f"{name} is broken"} for name in ("a.jpg", "b.jpg")]
    assert run(plan(tmp_path, total=0)) == 0
    assert (tmp_path / "errors.jsonl").exists(), "of a run that was over before: its list still holds"
    assert run(plan(tmp_path)) == 0
    assert not (tmp_path / "errors.jsonl").exists()


def test_a_place_is_of_one_model_and_direction(tmp_path: Path) -> None:
    assert run(plan(tmp_path)) == 0
    assert json.loads((tmp_path / "bulk.json").read_text()) == ABOUT
    with pytest.raises(ConflictError, match=r"\(direction 'a_to_b', now 'b_to_a'\), and would be taken for this one's"):
        run(plan(tmp_path, direction="b_to_a"))

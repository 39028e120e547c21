"""The changes of `benchmarks.mutants` are to code that is there, and tests that are there should catch them."""

from pathlib import Path

import pytest

from benchmarks.mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.what for mutant in MUTANTS])
def test_a_mutant_changes_code_that_is_there(mutant: Mutant) -> None:
    assert mutant.before in (ROOT / "metrics" / mutant.file).read_text()
    file, test = mutant.test.split("::")
    assert f"def {test}(" in (ROOT / "tests" / "metrics" / file).read_text()

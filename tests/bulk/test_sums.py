"""Sums that were put down and taken up again are those that never were, to the last digit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from bulk.sums import Measured, Sums
from metrics import Accumulator, Features
from models import InputError, LimitError

BROKEN = [("a.jpg", "a.jpg is empty")]


def measured(batches: Sequence[Features]) -> Measured:
    return Measured(tuple(batches), "small", "float32", 6)


def batches(pieces: int) -> list[list[Features]]:
    draws = np.random.default_rng(0)
    return [[draws.normal(3, 1, (8, 6)).astype(np.float32) for _ in range(8)] for _ in range(pieces)]


@pytest.mark.parametrize("at", [1, 3, 40], ids=["few", "rows-waiting", "many"])
def test_sums_go_on_where_they_were_put_down(at: int) -> None:
    """In the midst of a block of rows as well, and while the rows are fewer than the features."""
    sums, straight = Sums("run"), Accumulator(6)
    for number, piece in enumerate(batches(50)):
        if number == at:
            sums = Sums.unpacked(sums.packed())
        sums.add(measured(piece), 64, BROKEN if number == 0 else [], keep=True)
        for batch in piece:
            straight.add(batch)
    expected, found = straight.statistics("p", "small"), sums.result("set", "p")
    assert np.array_equal(found.statistics.mu, expected.mu)
    assert np.array_equal(found.statistics.sigma, expected.sigma)
    assert found.statistics.n == expected.n == 50 * 64
    assert np.array_equal(found.needed(), np.concatenate([batch for piece in batches(50) for batch in piece]))
    assert (sums.run, sums.pieces, sums.images, sums.broken) == ("run", 50, 3200, BROKEN)


def test_another_network_does_not_go_on_with_them() -> None:
    sums = Sums("run")
    sums.add(measured(batches(1)[0]), 64, [], keep=False)
    with pytest.raises(
        InputError, match=r"by small in float32, and the rest by large in float32: remove the \.partial"
    ):
        sums.add(Measured((), "large", "float32", 6), 64, [], keep=False)


def test_too_many_features_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulk.sums.FEATURE_LIMIT", 100)
    sums = Sums("run")
    sums.add(measured(batches(1)[0]), 64, [], keep=True)
    with pytest.raises(LimitError, match="at most 100 images: leave --keep out"):
        sums.add(measured(batches(1)[0]), 64, [], keep=True)


def test_nothing_is_no_set() -> None:
    with pytest.raises(InputError, match="no image"):
        Sums("run").result("set", "p")

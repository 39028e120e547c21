"""Streaming moments against numpy's covariance, and against exact ones where a large mean would eat the digits."""

import numpy as np
import pytest

from metrics.sets.moments import Accumulator
from models import InputError


def features(n: int, d: int = 64) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.normal(size=(n, d)) @ generator.normal(size=(d, d)) / np.sqrt(d)


def test_parts_merge_to_what_one_accumulator_holds() -> None:
    rows = features(1000, d=32)
    whole = Accumulator(32)
    whole.add(rows)
    merged = Accumulator(32)
    for start, stop in [(0, 10), (10, 500), (500, 501), (501, 1000)]:  # some below full rank, some above
        part = Accumulator(32)
        for row in np.array_split(rows[start:stop], 3):
            part.add(row)
        merged.merge(part)
    for _ in range(2):
        whole.merge(Accumulator(32))  # of nothing
    one, other = whole.statistics(), merged.statistics()
    assert other.n == 1000
    np.testing.assert_allclose(other.mu, one.mu, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(other.sigma, one.sigma, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("n", [20, 32, 33, 700])
def test_moments_are_numpys(n: int) -> None:
    """n - 1, not n: numpy.cov is the oracle, below full rank and above."""
    rows = features(n, d=32)
    accumulator = Accumulator(32)
    for start in range(0, n, 7):
        accumulator.add(rows[start : start + 7])
    found = accumulator.statistics()
    np.testing.assert_allclose(found.mu, rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.sigma, np.cov(rows, rowvar=False), rtol=1e-9, atol=1e-12)


def test_too_few_or_broken_features_are_errors() -> None:
    accumulator = Accumulator(4)
    with pytest.raises(InputError, match=r"at least 2 images.*has 0"):
        accumulator.statistics()
    accumulator.add(np.zeros((1, 4)))
    with pytest.raises(InputError, match=r"at least 2 images.*has 1"):
        accumulator.statistics()
    with pytest.raises(InputError, match="not finite"):
        accumulator.add(np.full((1, 4), np.nan))
    with pytest.raises(InputError, match=r"\[n, 4\]"):
        accumulator.add(np.zeros((2, 5)))


@pytest.mark.parametrize("shift", [0, 10**6, 10**8])
def test_a_large_common_mean_costs_no_digits(shift: int) -> None:
    """Whole numbers, so that rows + shift are exact and so is the covariance, which the shift leaves as it is.

    Sums of x and x x^T would be off by 2e-4 at 1e6, and by 5 at 1e8.
    """
    rows = np.random.default_rng(3).integers(-50, 50, (3000, 8))
    exact = np.array(3000 * (rows.T @ rows) - np.outer(rows.sum(0), rows.sum(0)), dtype=np.float64) / (3000 * 2999)
    whole, merged = Accumulator(8), Accumulator(8)
    whole.add(rows + shift)
    for part in np.array_split(rows + shift, [5, 900, 2000]):
        one = Accumulator(8)
        one.add(part)
        merged.merge(one)
    for found in (whole.statistics(), merged.statistics()):
        np.testing.assert_allclose(found.mu, rows.mean(0) + shift, rtol=1e-15, atol=1e-14)
        np.testing.assert_allclose(found.sigma, exact, rtol=1e-12, atol=1e-10 + 1e-13 * shift)


def test_merging_leaves_the_other_as_it_was() -> None:
    """Neither while it is taken in, by one that holds something already or nothing, nor by what comes later."""
    for held in (600, 0):
        a, b = Accumulator(4), Accumulator(4)
        a.add(features(held, d=4) - 1)
        b.add(features(600, d=4))
        before = b.statistics().sigma.copy()
        a.merge(b)
        a.add(features(600, d=4) + 1)
        a.statistics()
        assert np.array_equal(b.statistics().sigma, before)


@pytest.mark.parametrize("at", [0, 3, 500, 1111])
def test_a_state_goes_on_to_the_same_last_digit(at: int) -> None:
    rows = np.random.default_rng(0).normal(5, 2, (1500, 8)).astype(np.float32)
    straight, halved = Accumulator(8), Accumulator(8)
    for start in range(0, 1500, 4):
        if start == at - at % 4:
            halved = Accumulator.of_state(halved.state())
        straight.add(rows[start : start + 4])
        halved.add(rows[start : start + 4])
    one, other = straight.statistics(), halved.statistics()
    assert np.array_equal(one.mu, other.mu)
    assert np.array_equal(one.sigma, other.sigma)

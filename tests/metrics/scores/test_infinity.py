"""FID at infinity: the line, its bias, and that its intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest

import metrics
from metrics.scores.resampling import resample_counts
from metrics.sets.featuresets import FeatureSet, of_features
from metrics.sets.moments import Statistics
from models import InputError

D = 12
SCALES = np.arange(1, D + 1) ** -0.5


def side(n: int, seed: int, shift: float = 0.0) -> FeatureSet:
    """Skewed features with a decaying spectrum, as an Inception's are."""
    features = np.random.default_rng(seed).gamma(2.0, size=(n, D)) * SCALES + shift
    return of_features("side", features.astype(np.float32))


def gaussian(shift: float, width: float) -> Statistics:
    return Statistics(np.full(D, shift), np.diag((SCALES * width) ** 2))


def test_fid_at_infinity_takes_the_bias_away() -> None:
    """Generated and real images of one distribution: at infinity the distance is 0, at any finite count it is not."""
    reference = side(20_000, 7)
    found = [metrics.fid_infinity(side(600, 8 + seed), reference) for seed in range(8)]
    at_600 = np.mean([one["points"][-1][1] for one in found])
    assert at_600 > 0.01
    assert abs(np.mean([one["value"] for one in found])) < at_600 / 3
    assert all(one["points"][0][0] == 60 and one["points"][-1][0] == 600 for one in found)
    assert all(one["slope"] > 0 and one["reliable"] is True for one in found)
    assert metrics.fid_infinity(side(20, 8), reference)["reliable"] is False


def test_fid_at_infinity_is_a_least_squares_line() -> None:
    found = metrics.fid_infinity(side(300, 8), side(500, 9, shift=0.2))
    sizes, values = np.array(found["points"]).T
    slope, intercept = np.polyfit(1 / sizes, values, 1)
    assert found["value"] == pytest.approx(intercept, rel=1e-6)
    assert found["slope"] == pytest.approx(slope, rel=1e-6)
    assert found["deviation"] > 0


@pytest.mark.parametrize(("shift", "width"), [(0.0, 1.0), (0.3, 1.0), (0.0, 1.3), (0.1, 1.05)])
def test_intervals_hold_the_true_distance_as_often_as_they_promise(shift: float, width: float) -> None:
    """Of Gaussians, whose distance is known; the first is of equal ones, at 0, where a cut interval would not be one.

    95 % of 120 is 114, give or take 2.4. The spread of FID at n alone, moved to the intercept, holds it 101 to 110
    times.
    """
    reference = FeatureSet("reference", gaussian(0.0, 1.0))
    truth = metrics.frechet_distance(gaussian(shift, width), reference.statistics)
    held, below = 0, 0
    for seed in range(120):
        generator = np.random.default_rng(seed)
        features = generator.normal(size=(200, D)) * SCALES * width + shift
        found = metrics.fid_infinity(
            of_features("drawn", features.astype(np.float32)),
            reference,
            counts=resample_counts(200, 200, generator),
            seed=seed,
        )
        low, high = found["interval"]
        held += low <= truth <= high
        below += low < 0
    assert 108 <= held <= 119
    assert below > 0 or truth > 0


def test_the_interval_is_of_the_generated_images_alone() -> None:
    """The reference stays as it is, with features or without."""
    a, b = side(100, 1), side(200, 2, shift=0.2)
    counts = resample_counts(100, 99, np.random.default_rng(0))
    bare = FeatureSet(b.name, b.statistics)
    found = metrics.fid_infinity(a, b, counts=counts)
    assert found == metrics.fid_infinity(a, bare, counts=counts)
    assert found["interval"][0] < found["value"] < found["interval"][1]
    assert metrics.fid_infinity(a, b)["interval"] is None


def test_too_few_images_or_none_are_said() -> None:
    with pytest.raises(InputError, match="at least 20 generated images"):
        metrics.fid_infinity(side(19, 1), side(40, 2))
    with pytest.raises(InputError, match="holds statistics only"):
        metrics.fid_infinity(FeatureSet("bare", gaussian(0.0, 1.0)), side(40, 2))

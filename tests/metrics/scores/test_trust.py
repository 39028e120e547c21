"""Intervals, floors and verdicts, against resampling outright and against repeated sampling."""

from __future__ import annotations

import numpy as np
import pytest

import metrics
from metrics.scores import trust
from metrics.scores.resampling import interval, resample_counts
from metrics.sets.featuresets import FeatureSet, of_features
from metrics.sets.moments import Statistics

D = 12


def draw(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Skewed features with a decaying spectrum, as an Inception's are."""
    generator = np.random.default_rng(seed)
    scales = np.arange(1, D + 1) ** -0.5
    return (generator.gamma(2.0, size=(n, D)) * scales + shift).astype(np.float32)


def side(n: int, seed: int, shift: float = 0.0) -> FeatureSet:
    return of_features("side", draw(n, seed, shift))


def fid(a: FeatureSet, b: FeatureSet) -> float:
    return metrics.frechet_distance(a.statistics, b.statistics)


@pytest.mark.parametrize(("na", "nb"), [(200, 150), (60, 300), (10, 9), (10, 200)])
def test_influences_are_the_derivatives_of_fid(na: int, nb: int) -> None:
    """Against finite differences: one image counted a little more. Below full rank too."""
    a, b = side(na, 1), side(nb, 2, shift=0.3)
    found = trust.influences(a, b)
    step = 1e-4
    for which, (moved, other) in enumerate(((a, b), (b, a))):
        features = moved.features.astype(np.float64)
        n = len(features)
        for image in (0, n // 2):
            weights = np.ones(n)
            weights[image] += step * n
            weights *= n / weights.sum()
            mu = weights @ features / n
            centred = (features - mu) * np.sqrt(weights / (n - 1))[:, None]
            nudged = Statistics(mu, centred.T @ centred, n, factor=centred if n <= D else None)
            slope = (metrics.frechet_distance(nudged, other.statistics) - fid(moved, other)) / step
            assert found[which][image] == pytest.approx(slope, rel=2e-3, abs=2e-3)
        assert found[which].mean() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("na", "nb"), [(200, 150), (60, 300)])
def test_first_order_intervals_are_those_of_resampling_outright(na: int, nb: int) -> None:
    a, b = side(na, 1), side(nb, 2, shift=0.3)
    generator = np.random.default_rng(0)
    counts_a, counts_b = resample_counts(na, 400, generator), resample_counts(nb, 400, generator)
    outright = [
        fid(*(of_features("again", np.repeat(s.features, c.astype(int), axis=0)) for s, c in ((a, ca), (b, cb))))
        for ca, cb in zip(counts_a, counts_b, strict=True)
    ]
    expected = interval(fid(a, b), outright, floor=0.0)
    found = trust.fid_interval(a, b, fid(a, b), counts_a, counts_b)
    assert found[1] - found[0] == pytest.approx(expected[1] - expected[0], rel=0.2)
    assert np.mean(outright) > fid(a, b), "resampling shifts FID upwards: why intervals are centred again"


def test_intervals_cover_what_other_images_would_have_given() -> None:
    """95% of the intervals hold the mean score of this many images; 100 repetitions, 60 images each."""
    scores, held = [], []
    for seed in range(100):
        a, b = side(60, 10 + 2 * seed), side(60, 11 + 2 * seed, shift=0.3)
        generator = np.random.default_rng(seed)
        scores.append(fid(a, b))
        held.append(
            trust.fid_interval(
                a, b, scores[-1], resample_counts(60, 200, generator), resample_counts(60, 200, generator)
            )
        )
    covered = sum(low <= np.mean(scores) <= high for low, high in held)
    assert 85 <= covered <= 100


def test_an_interval_is_the_spread_of_the_resamples_about_the_score() -> None:
    resampled = np.random.default_rng(0).normal(7.0, 2.0, 10_000)  # 3 above the score, as resamples of a distance are
    low, high = interval(4.0, resampled)
    assert (low, high) == pytest.approx((4 - 1.96 * 2, 4 + 1.96 * 2), abs=0.1)
    assert interval(4.0, resampled, floor=1.0)[0] == 1.0
    assert interval(4.0, []) is None


def test_an_interval_does_not_go_below_nothing() -> None:
    a, b = side(50, 1), side(50, 2)
    generator = np.random.default_rng(0)
    low, _ = trust.fid_interval(a, b, 1e-3, resample_counts(50, 99, generator), resample_counts(50, 99, generator))
    assert low == 0.0
    assert trust.fid_interval(a, b, 1.0, None, None) is None


def test_the_floor_is_what_real_images_score_among_themselves() -> None:
    reference = side(4000, 3)
    expected = np.mean([fid(side(100, 50 + seed), side(3900, 90 + seed)) for seed in range(5)])
    by_images = trust.floor(side(100, 4), reference)
    by_gaussian = trust.floor(side(100, 4), FeatureSet("statistics", reference.statistics))
    assert by_images["method"] == "images"
    assert by_gaussian["method"] == "gaussian"
    assert by_images["value"] == pytest.approx(expected, rel=0.4)
    assert by_gaussian["value"] == pytest.approx(expected, rel=0.5)
    fewer = trust.floor(side(400, 4), reference)
    assert fewer["value"] < by_images["value"] / 2, "the floor falls as images are added"


def test_there_is_no_floor_without_a_larger_reference() -> None:
    assert trust.floor(side(100, 1), side(100, 2)) is None
    assert trust.floor(side(9, 1), side(11, 2)) is None, "eleven images of twelve features give no Gaussian"
    assert trust.floor(FeatureSet("a", Statistics(np.zeros(D), np.eye(D))), side(100, 2)) is None
    few = side(11, 2).statistics
    flat = Statistics(few.mu, few.sigma.astype(np.float32).astype(np.float64))  # as pytorch-fid keeps them, without n
    assert trust.floor(side(9, 1), FeatureSet("b", flat)) is None, "nor if the file does not say that they are eleven"
    unknown = FeatureSet("b", Statistics(np.zeros(D), np.eye(D)))
    assert trust.floor(side(50, 1), unknown)["method"] == "gaussian"


def test_verdicts() -> None:
    assert trust.verdict(2048, 5000, 2048)[0] is True
    few, sentence = trust.verdict(2047, 5000, 2048)
    assert few is False
    assert "the first set has 2,047, fewer than the 2,048 features" in sentence
    assert "second" not in sentence
    assert "second set has 7" in trust.verdict(5000, 7, 2048)[1]
    unknown, sentence = trust.verdict(5000, None, 2048)
    assert unknown is False
    assert "second set do not say of how many images" in sentence

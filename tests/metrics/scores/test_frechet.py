"""The Frechet distance against analytic oracles and scipy's matrix square root."""

import numpy as np
import pytest
import scipy.linalg

import metrics
from metrics.sets.featuresets import of_features
from metrics.sets.moments import Statistics
from models import InputError


def by_sqrtm(a: Statistics, b: Statistics) -> float:
    """The textbook formula, as pytorch-fid computes it."""
    root = scipy.linalg.sqrtm(a.sigma @ b.sigma)
    difference = a.mu - b.mu
    return float(difference @ difference + np.trace(a.sigma + b.sigma) - 2 * np.trace(root).real)


def describe(rows: np.ndarray) -> Statistics:
    return of_features("rows", rows).statistics


def features(n: int, d: int = 64, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, d)) @ generator.normal(size=(d, d)) / np.sqrt(d) + shift


def test_unit_mean_shift_with_equal_covariance_is_the_dimension() -> None:
    """The value other tools pin: mean shift of 1 in 2048 dimensions, equal covariance: FID 2048."""
    a = Statistics(np.zeros(2048), np.eye(2048))
    assert metrics.frechet_distance(a, Statistics(np.ones(2048), np.eye(2048))) == pytest.approx(2048, abs=1e-6)


def test_diagonal_covariances_have_a_closed_form() -> None:
    sa, sb = np.array([1.0, 4.0, 9.0]), np.array([16.0, 1.0, 0.25])
    expected = 3 * 0.5**2 + np.sum((np.sqrt(sa) - np.sqrt(sb)) ** 2)
    found = metrics.frechet_distance(Statistics(np.zeros(3), np.diag(sa)), Statistics(np.full(3, 0.5), np.diag(sb)))
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("na", "nb"), [(30, 40), (30, 500), (500, 40), (400, 500), (65, 64)])
def test_every_rank_agrees_with_sqrtm(na: int, nb: int) -> None:
    a, b = describe(features(na, seed=1)), describe(features(nb, seed=2, shift=0.3))
    assert metrics.frechet_distance(a, b) == pytest.approx(by_sqrtm(a, b), rel=1e-5)
    assert metrics.frechet_distance(a, b) == pytest.approx(metrics.frechet_distance(b, a), rel=1e-9)


@pytest.mark.parametrize("n", [10, 64, 65, 300])
def test_the_low_rank_form_equals_the_one_through_the_covariance(n: int) -> None:
    """The same sets, once through features, once through mu and sigma alone, as a file gives them."""
    a, b = describe(features(n, seed=3)), describe(features(200, seed=4))
    bare = Statistics(a.mu, a.sigma)  # neither n nor the factor
    counted = Statistics(a.mu, a.sigma, n=n)
    expected = metrics.frechet_distance(a, b)
    assert metrics.frechet_distance(counted, b) == pytest.approx(expected, rel=1e-9)
    assert metrics.frechet_distance(bare, b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n", [2, 30, 64, 500])
def test_equal_sets_are_at_zero_and_never_below(n: int) -> None:
    a = describe(features(n))
    assert 0.0 <= metrics.frechet_distance(a, a) < 1e-8


def test_one_picture_a_thousand_times_has_a_defined_distance() -> None:
    point = np.arange(64.0)
    a, b = describe(np.tile(point, (1000, 1))), describe(np.tile(point + 1, (1000, 1)))
    assert metrics.frechet_distance(a, b) == pytest.approx(64.0, abs=1e-9)
    assert metrics.frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)


def test_a_covariance_kept_in_float32_is_no_trouble() -> None:
    """Rounded to float32 a covariance has negative eigenvalues, and ones that should be zero and whose roots are not
    small. The result is real all the same, and where n is known those do not enter."""
    a, b = describe(features(40, seed=5)), describe(features(500, seed=6))
    sigma = a.sigma.astype(np.float32).astype(np.float64)
    expected = metrics.frechet_distance(a, b)
    without_n = metrics.frechet_distance(Statistics(a.mu, sigma), b)
    with_n = metrics.frechet_distance(Statistics(a.mu, sigma, n=40), b)
    assert without_n == pytest.approx(expected, rel=1e-3)
    assert with_n == pytest.approx(expected, rel=1e-6)
    assert abs(with_n - expected) < abs(without_n - expected) / 10


def test_the_largest_numbers_that_are_taken_give_a_finite_distance() -> None:
    rows = np.random.default_rng(0).normal(size=(2, 9, 4)) * 1e38  # about as far as float32 features go
    few, other = (describe(some.astype(np.float32)) for some in rows)
    assert 0 < metrics.frechet_distance(few, other) < np.inf
    for mu, sigma in ((9e99, 1.0), (0.0, 9e99), (9e99, 9e99)):
        far, near = Statistics(np.full(4, mu), sigma * np.eye(4)), Statistics(np.zeros(4), sigma * np.eye(4))
        assert 0 <= metrics.frechet_distance(far, near) < np.inf
    with pytest.raises(InputError, match="beyond 1e100"):
        Statistics(np.full(4, 2e100), np.eye(4))


def test_what_was_made_differently_is_not_compared() -> None:
    mu, sigma = np.zeros(4), np.eye(4)
    with pytest.raises(InputError, match="protocol"):
        metrics.frechet_distance(Statistics(mu, sigma, protocol="clean-fid"),
                                 Statistics(mu, sigma, protocol="pytorch-fid"))  # fmt: skip
    with pytest.raises(InputError, match="extractor"):
        metrics.frechet_distance(Statistics(mu, sigma, extractor="one"), Statistics(mu, sigma, extractor="other"))
    with pytest.raises(InputError, match="dimensions"):
        metrics.frechet_distance(Statistics(mu, sigma), Statistics(np.zeros(5), np.eye(5)))
    metrics.frechet_distance(Statistics(mu, sigma, extractor="one"), Statistics(mu, sigma))  # unsaid is accepted

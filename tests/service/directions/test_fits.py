"""Directions from two sets, against closed forms."""

import numpy as np
import pytest

from models.errors import InputError
from service.directions import fits

RANDOM = np.random.default_rng(0)


def test_means_lead_from_one_mean_to_the_other() -> None:
    a, b = RANDOM.normal(size=(30, 5)), RANDOM.normal(size=(50, 5)) + np.array([3, 0, 0, 0, 0])
    fit = fits.means(a, b)
    np.testing.assert_allclose(a.mean(axis=0) + fit.vector, b.mean(axis=0))
    halfway = (a.mean(axis=0) + b.mean(axis=0)) / 2
    right = ((a - halfway) @ fit.vector < 0).sum() + ((b - halfway) @ fit.vector > 0).sum()
    assert fit.accuracy == right / 80


def test_the_classifier_leaves_out_what_both_sets_vary_in() -> None:
    """Fisher's direction is the covariance's inverse times the means' difference; logistic regression finds it too."""
    covariance = np.array([[1, 0.95], [0.95, 1]])
    a, b = (RANDOM.multivariate_normal(mean, covariance, 4000) for mean in ((0, 0), (1, 0)))
    fisher = np.linalg.solve(covariance, b.mean(axis=0) - a.mean(axis=0))
    fit = fits.linear(a, b)
    cosine = fit.vector @ fisher / np.linalg.norm(fit.vector) / np.linalg.norm(fisher)
    assert cosine > 0.995
    assert fit.accuracy > fits.means(a, b).accuracy + 0.05
    unit = fit.vector / np.linalg.norm(fit.vector)
    assert np.linalg.norm(fit.vector) == pytest.approx(unit @ (b.mean(axis=0) - a.mean(axis=0)))


def test_a_small_set_counts_as_much_as_a_large_one() -> None:
    a, b = RANDOM.normal(size=(1000, 3)), RANDOM.normal(size=(10, 3)) + np.array([6, 0, 0])
    fit = fits.linear(a, b)
    assert fit.accuracy > 0.99
    assert fit.vector[0] > 5


def test_sets_of_one_mean_have_no_direction() -> None:
    one = RANDOM.normal(size=(5, 3))
    for find in (fits.means, fits.linear):
        with pytest.raises(InputError, match="same mean"):
            find(one, one[::-1])


def test_a_direction_can_be_kept_as_float32() -> None:
    far = np.full((2, 3), 3e38)
    for find in (fits.means, fits.linear):
        assert np.isfinite(find(far / 4, -far / 4).vector.astype(np.float32)).all()
        with pytest.raises(InputError, match="further apart"):
            find(far, -far)

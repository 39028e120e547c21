"""Latents: a function of the seed alone, normal, and interpolated along the sphere."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import models
from models import SEED_LIMIT, InputError


@given(st.integers(0, SEED_LIMIT - 1), st.integers(1, 20))
def test_sample_i_is_a_function_of_seed_plus_i_alone(seed: int, n: int) -> None:
    together = models.draw(models.sample_seeds(seed, n), 5)
    for index in range(n):
        assert torch.equal(together[index], models.draw([(seed + index) % SEED_LIMIT], 5)[0])


def test_seeds_that_share_their_low_32_bits_differ() -> None:
    low, high = models.draw([3, 3 + 2**32], 16)
    assert not torch.equal(low, high)


def test_a_stored_latent_never_changes() -> None:
    """numpy's published PCG64 stream: an image found next year must be makeable again."""
    expected = np.random.Generator(np.random.PCG64(42)).standard_normal(3).astype(np.float32)
    assert np.allclose(expected, [0.30471708, -1.0399841, 0.7504512])
    assert np.array_equal(models.draw([42], 3)[0].numpy(), expected)


def test_latents_are_standard_normal() -> None:
    latents = models.draw(range(400), 50).numpy().ravel()
    assert stats.kstest(latents, "norm").pvalue > 1e-3


@pytest.mark.parametrize("threshold", [0.5, 1.0, 2.0])
def test_truncated_latents_follow_the_truncated_normal(threshold: float) -> None:
    latents = models.draw(range(400), 50, truncation=threshold).numpy().ravel()
    assert np.abs(latents).max() <= threshold
    assert stats.kstest(latents, stats.truncnorm(-threshold, threshold).cdf).pvalue > 1e-3


def test_a_wide_truncation_changes_nothing() -> None:
    assert torch.equal(models.draw(range(9), 7, truncation=10.0), models.draw(range(9), 7))


@pytest.mark.parametrize("seed", [-1, SEED_LIMIT, 2**64])
def test_seeds_out_of_range_are_refused(seed: int) -> None:
    with pytest.raises(InputError, match="0 to 2"):
        models.sample_seeds(seed, 1)


@pytest.mark.parametrize("truncation", [0.0, -1.0, float("nan"), float("inf")])
def test_truncations_out_of_range_are_refused(truncation: float) -> None:
    with pytest.raises(InputError, match="Truncation"):
        models.draw([0], 2, truncation=truncation)


def test_slerp_of_unit_vectors_walks_the_circle_at_constant_speed() -> None:
    start, end = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    for step in range(5):
        angle = torch.tensor(step / 4 * torch.pi / 2)
        expected = torch.stack([torch.cos(angle), torch.sin(angle)])
        torch.testing.assert_close(models.slerp(start, end, step / 4), expected)


def test_slerp_keeps_the_norm_that_lerp_loses() -> None:
    start, end = models.draw([0, 1], 512)
    middle = models.slerp(start, end, 0.5)
    assert abs(float(middle.norm() / ((start.norm() + end.norm()) / 2)) - 1) < 0.05
    assert float(models.lerp(start, end, 0.5).norm() / middle.norm()) < 0.8


@pytest.mark.parametrize("way", [models.slerp, models.lerp])
def test_interpolation_ends_where_it_should(way: object) -> None:
    start, end = models.draw([0, 1], 16)
    for t, expected in ((0.0, start), (1.0, end)):
        torch.testing.assert_close(way(start, end, t), expected)  # type: ignore[operator]


@pytest.mark.parametrize("factor", [1.0, 2.0, -1.0])
def test_slerp_of_parallel_and_opposite_latents_is_the_straight_line(factor: float) -> None:
    start = models.draw([0], 8)
    torch.testing.assert_close(
        models.slerp(start, factor * start, 0.25), models.lerp(start, factor * start, 0.25), atol=1e-4, rtol=1e-4
    )


def test_slerp_from_and_to_zero_is_finite() -> None:
    latent, zero = models.draw([0], 8), torch.zeros(1, 8)
    for start, end in ((latent, zero), (zero, latent), (zero, zero)):
        assert torch.isfinite(models.slerp(start, end, torch.linspace(0, 1, 5)[:, None])).all()

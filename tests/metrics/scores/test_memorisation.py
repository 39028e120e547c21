"""Authenticity and data copying: the papers' definitions written plainly, and models that copy more and more."""

import numpy as np
import pytest
from scipy.stats import norm

import metrics
from metrics.scores import memorisation
from metrics.scores.resampling import resample_counts
from models import InputError


def drawn(n: int, seed: int, dimensions: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dimensions)).astype(np.float32)


def authentic_by_definition(generated: np.ndarray, training: np.ndarray) -> float:
    """Alaa et al. 2022, section 3.3, image by image."""
    found = 0
    for image in generated.astype(float):
        distances = np.linalg.norm(training - image, axis=1)
        nearest = distances.argmin()
        others = np.delete(training, nearest, axis=0).astype(float)
        found += distances[nearest] > np.linalg.norm(others - training[nearest], axis=1).min()
    return found / len(generated)


def test_authenticity_is_its_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metrics.scores.distances.BLOCK", 16)
    training = drawn(90, 1)
    generated = np.concatenate([drawn(40, 2), training[:20] + 0.1 * drawn(20, 3)])
    expected = authentic_by_definition(generated, training)
    assert 0.2 < expected < 0.8, "the case must be able to fail"
    assert metrics.authenticity(generated, training)["value"] == pytest.approx(expected, abs=1e-12)


def test_copies_are_not_authentic() -> None:
    training = drawn(50, 1)
    assert metrics.authenticity(training[::2], training)["value"] == 0
    assert metrics.authenticity(training[:10] + 100, training)["value"] == 1


def test_authenticity_has_an_interval() -> None:
    training, generated = drawn(300, 1), drawn(200, 2)
    counts = resample_counts(200, 100, np.random.default_rng(0))
    found = metrics.authenticity(generated, training, counts=counts)
    low, high = found["interval"]
    deviation = np.sqrt(found["value"] * (1 - found["value"]) / 200)
    assert high - low == pytest.approx(2 * norm.ppf(0.975) * deviation, rel=0.3)


def test_z_counts_pairs() -> None:
    """Every pair on its own; ties count one half (Mann, Whitney 1947)."""
    generator = np.random.default_rng(0)
    ours, theirs = generator.integers(0, 9, 40).astype(float), generator.integers(0, 12, 31).astype(float)
    u = (ours[:, None] > theirs).sum() + (ours[:, None] == theirs).sum() / 2
    expected = (u - 40 * 31 / 2) / np.sqrt(40 * 31 * 72 / 12)
    assert memorisation._z(ours, theirs) == pytest.approx(expected, rel=1e-12)
    assert expected < -1, "ours are the nearer ones"


def test_data_copying_is_near_zero_for_what_is_drawn_alike() -> None:
    found = [
        metrics.data_copying(drawn(400, seed), drawn(1000, 100 + seed), drawn(400, 200 + seed)) for seed in range(20)
    ]
    values = np.array([one["value"] for one in found])
    assert all(one["of"] == 20 for one in found)
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(20)


@pytest.mark.parametrize("copied", [0.1, 0.5, 1.0])
def test_data_copying_falls_with_the_share_of_copies(copied: float) -> None:
    """Copies disturbed by little, as an overfitted model makes them."""
    training, held_out, fresh = drawn(1000, 1), drawn(1000, 2), drawn(1000, 3)
    copies = training + 0.01 * drawn(1000, 4)
    generated = np.concatenate([copies[: int(1000 * copied)], fresh[int(1000 * copied) :]])
    honest = metrics.data_copying(fresh, training, held_out)["value"]
    value = metrics.data_copying(generated, training, held_out)["value"]
    assert value < honest
    assert copied < 0.5 or value < -3


def test_data_copying_weighs_cells_by_their_held_out_images() -> None:
    """Two clusters far apart, three quarters of the held-out images in the one that is copied (eq. 1)."""
    copied, honest = drawn(200, 1), drawn(200, 2) + 1000
    training = np.concatenate([copied, honest])
    held_out = np.concatenate([drawn(30, 3), drawn(10, 4) + 1000])
    generated = np.concatenate([copied[:100], drawn(100, 5) + 1000])
    found = metrics.data_copying(generated, training, held_out)
    parts = []
    for ours, theirs, known in ((generated[:100], held_out[:30], copied), (generated[100:], held_out[30:], honest)):
        near = [np.linalg.norm(side[:, None].astype(float) - known[None], axis=2).min(1) for side in (ours, theirs)]
        parts.append(memorisation._z(*near))
    assert found["cells"] == found["of"] == 2
    assert found["value"] == pytest.approx((30 * parts[0] + 10 * parts[1]) / 40, rel=1e-6)


def test_what_is_too_small_is_said() -> None:
    with pytest.raises(InputError, match="needs two training images or more; there are 1"):
        metrics.authenticity(drawn(9, 1), drawn(1, 2))
    with pytest.raises(InputError, match="20 images or more in each set; there are 40 generated, 19 for training"):
        metrics.data_copying(drawn(40, 1), drawn(19, 2), drawn(40, 3))
    far = np.concatenate([drawn(30, 3) - 1e4, drawn(30, 4)])
    with pytest.raises(InputError, match="nothing in common"):
        metrics.data_copying(drawn(40, 1) + 1e4, far, drawn(40, 5) - 1e4)

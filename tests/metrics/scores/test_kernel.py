"""KID, precision and its kin, Inception Score, each against the definition written out or the published package."""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings

import numpy as np
import pytest

import metrics
from metrics.scores.resampling import resample_counts
from models import InputError


def normal(n: int, d: int = 16, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(n, d)) + shift).astype(np.float32)


def kid_by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """Binkowski et al. 2018, eq. 4, sum by sum."""

    def kernel(p: np.ndarray, q: np.ndarray) -> float:
        return float((p.astype(float) @ q.astype(float) / len(p) + 1) ** 3)

    n, m = len(x), len(y)
    within_x = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * sum(kernel(p, q) for p in x for q in y) / (n * m)


def test_kid_is_its_definition() -> None:
    x, y = normal(13), normal(17, seed=1, shift=0.4)
    assert metrics.kid(x, y)["value"] == pytest.approx(kid_by_definition(x, y), rel=1e-10)


def test_kid_is_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(50), normal(70, seed=1, shift=0.2)
    counts = (resample_counts(50, 20, np.random.default_rng(0)), resample_counts(70, 20, np.random.default_rng(1)))
    whole = metrics.kid(x, y, counts=counts)
    monkeypatch.setattr("metrics.scores.kernel._BLOCK", 16)
    blocked = metrics.kid(x, y, counts=counts)
    assert blocked["value"] == pytest.approx(whole["value"], rel=1e-12)
    assert blocked["interval"] == pytest.approx(whole["interval"], rel=1e-9)


def test_kid_is_unbiased_and_its_interval_covers() -> None:
    """Two samples of one distribution: 0 on average, and the 95% interval holds 0 about that often."""
    values, covered = [], 0
    for seed in range(60):
        x, y = normal(40, seed=2 * seed), normal(40, seed=2 * seed + 1)
        generator = np.random.default_rng(seed)
        counts = (resample_counts(40, 100, generator), resample_counts(40, 100, generator))
        found = metrics.kid(x, y, counts=counts, subsets=2)
        values.append(found["value"])
        covered += found["interval"][0] <= 0 <= found["interval"][1]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(60)
    assert covered >= 50


def test_kid_subsets_have_the_mean_and_say_their_size() -> None:
    x, y = normal(200), normal(200, seed=1, shift=0.3)
    found = metrics.kid(x, y, subsets=50, subset_size=60)
    assert found["subsets"]["size"] == 60
    assert found["subsets"]["count"] == 50
    assert found["subsets"]["mean"] == pytest.approx(found["value"], abs=3 * found["subsets"]["deviation"] / 50**0.5)
    whole = metrics.kid(x, y, subsets=3, subset_size=200)["subsets"]
    assert whole["mean"] == pytest.approx(found["value"], rel=1e-9)
    assert whole["deviation"] == pytest.approx(0, abs=1e-9)


def test_kid_refuses_what_it_cannot_do() -> None:
    with pytest.raises(InputError, match="at least 2 images in each set; there are 1 and 5"):
        metrics.kid(normal(1), normal(5))
    with pytest.raises(InputError, match="from 2 to 5"):
        metrics.kid(normal(9), normal(5), subset_size=6)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_kid_of_few_images_has_an_interval_of_numbers_or_none(n: int) -> None:
    """A resample of few images may draw one of them n times, and then has no pair to compare."""
    x, y = normal(n), normal(20, seed=1)
    counts = [resample_counts(len(side), 200, np.random.default_rng(0)) for side in (x, y)]
    alone = (counts[0] == n).any(axis=1)
    assert alone.any() == (n < 5), "the case must be able to fail"
    found = metrics.kid(x, y, counts=tuple(counts))["interval"]
    if n == 2:  # every resample with a pair is the set itself
        assert found is None
        return
    assert found == metrics.kid(x, y, counts=tuple(side[~alone] for side in counts))["interval"]
    assert np.isfinite(found).all()
    assert found[0] < found[1]


def published_prdc(real: np.ndarray, generated: np.ndarray, k: int) -> dict[str, float]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        # in float64: float32 distances would be rounded, and a near tie fall either way on another machine
        return importlib.import_module("prdc").compute_prdc(real.astype(float), generated.astype(float), k)


@pytest.mark.parametrize(("n", "m", "k", "shift"), [(60, 80, 5, 0.3), (200, 50, 3, 0.1), (30, 30, 5, 0.0)])
def test_prdc_equals_the_package_on_distinct_distances(
    n: int, m: int, k: int, shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics.scores.distances.BLOCK", 32)
    generated, real = normal(n, seed=1, shift=shift), normal(m, seed=2)
    expected = published_prdc(real, generated, k)
    found = metrics.prdc(generated, real, k=k)
    assert {name: entry["value"] for name, entry in found.items()} == pytest.approx(expected, rel=1e-12)
    assert 0 < expected["precision"] < 1 or shift == 0, "the case must be able to fail"


def by_definition(generated: np.ndarray, real: np.ndarray, k: int) -> dict[str, float]:
    """Every distance on its own, in whole numbers, so that equal ones are equal."""

    def squared(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return ((x[:, None].astype(int) - y[None].astype(int)) ** 2).sum(2)

    def radii(x: np.ndarray) -> np.ndarray:
        return np.array([sorted(np.delete(row, i))[k - 1] for i, row in enumerate(squared(x, x))])

    between = squared(real, generated)
    ball_of_real, ball_of_generated = radii(real)[:, None], radii(generated)[None]
    return {
        "precision": float((between <= ball_of_real).any(0).mean()),
        "recall": float((between <= ball_of_generated).any(1).mean()),
        "density": float((between < ball_of_real).sum(0).mean() / k),
        "coverage": float((between < ball_of_real).any(1).mean()),
    }


@pytest.mark.parametrize("offset", [0, 300])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_prdc_is_its_definition_where_distances_are_equal(k: int, offset: int) -> None:
    """On a grid most distances come several times; far from 0 rounding must not part them."""
    generator = np.random.default_rng(k)
    generated, real = (
        (generator.integers(0, 9, (n, 2)) * width + offset).astype(np.float32) for n, width in ((60, 3), (70, 2))
    )
    expected = by_definition(generated, real, k)
    found = {name: entry["value"] for name, entry in metrics.prdc(generated, real, k=k).items()}
    assert found == pytest.approx(expected, rel=1e-6)
    open_balls = published_prdc(real, generated, k)
    assert open_balls["precision"] + open_balls["recall"] < expected["precision"] + expected["recall"], "it can fail"


def test_a_ball_holds_its_surface_for_precision_and_recall_alone() -> None:
    """Real images at 0, 1, 2, 3 and k = 1: every ball has the radius 1, and a generated image at 4 touches the last."""
    real, generated = np.float32([[0], [1], [2], [3]]), np.float32([[4], [9]])
    found = {name: entry["value"] for name, entry in metrics.prdc(generated, real, k=1).items()}
    assert found == {"precision": 0.5, "recall": 1.0, "density": 0.0, "coverage": 0.0}


def test_precision_and_recall_are_not_confused() -> None:
    """Generated images all near one real image: precise, without variety."""
    real = normal(100)
    generated = real[:1] + 0.01 * normal(100, seed=5)
    found = metrics.prdc(generated, real)
    assert found["precision"]["value"] == 1.0
    assert found["recall"]["value"] <= 0.02
    assert found["coverage"]["value"] < 0.5


def test_prdc_of_one_picture_a_thousand_times_is_finite() -> None:
    """Balls of radius 0 hold their centre with their surface, and nothing without."""
    same = np.tile(normal(1), (1000, 1))
    found = {name: entry["value"] for name, entry in metrics.prdc(same, same).items()}
    assert found == {"precision": 1.0, "recall": 1.0, "density": 0.0, "coverage": 0.0}
    assert metrics.kid(same, same, subsets=2)["value"] == pytest.approx(0.0, abs=1e-9)


def test_prdc_of_equal_sets_is_perfect() -> None:
    found = metrics.prdc(normal(50), normal(50))
    assert [found[name]["value"] for name in ("precision", "recall", "coverage")] == [1.0, 1.0, 1.0]


def test_prdc_needs_more_images_than_neighbours() -> None:
    with pytest.raises(InputError, match=r"k = 5 need more than 5 images in each set; there are 5 and 9"):
        metrics.prdc(normal(5), normal(9))


def test_inception_score_has_its_analytic_ends() -> None:
    certain = 1000 * np.eye(7)[np.arange(70) % 7]
    assert metrics.inception_score(certain)["value"] == pytest.approx(7, rel=1e-9)  # sharp and varied: the classes
    assert metrics.inception_score(np.zeros((70, 7)))["value"] == pytest.approx(1, rel=1e-9)  # says nothing
    one_class = 1000 * np.eye(7)[np.zeros(70, int)]
    assert metrics.inception_score(one_class)["value"] == pytest.approx(1, rel=1e-9)  # sharp, without variety


def test_inception_score_is_its_definition_and_splits() -> None:
    logits = normal(103, d=9).astype(float) * 2
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = np.exp(np.mean(np.sum(p * (np.log(p) - np.log(p.mean(0))), axis=1)))
    counts = resample_counts(103, 50, np.random.default_rng(0))
    found = metrics.inception_score(logits, counts=counts)
    assert found["value"] == pytest.approx(expected, rel=1e-9)
    assert found["interval"][0] < expected < found["interval"][1]
    assert found["splits"]["count"] == 10
    assert metrics.inception_score(logits, splits=1)["splits"]["mean"] == pytest.approx(expected, rel=1e-9)
    assert metrics.inception_score(logits[:3])["splits"]["count"] == 3
    with pytest.raises(InputError, match="at least one image"):
        metrics.inception_score(logits[:0])

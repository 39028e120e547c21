"""How far to trust an FID: an interval, a verdict on the sample count, and the floor that no generator can pass.

FID of n images is biased upwards by about c / n (Chong and Forsyth, "Effectively Unbiased FID and Inception Score",
CVPR 2020), more than most models differ by when n is small. Three answers, for three questions:

- interval: how would other images from the same sources move this value?
- floor: what would real images score, at this count?
- verdict: is the count enough for the covariance of this many features to have full rank?
"""

from typing import Any

import numpy as np
import torch

from metrics.scores.frechet import Factor, factor_of, frechet_distance
from metrics.scores.resampling import Counts, interval
from metrics.sets.featuresets import FeatureSet, of_features
from metrics.sets.moments import Accumulator, Statistics

_BLOCK = 1024  # images at a time: in float64 all of them would be twice the features' size


def fid_interval(
    a: FeatureSet, b: FeatureSet, value: float, counts_a: Counts | None, counts_b: Counts | None
) -> list[float] | None:
    """95% interval of an FID, by resampling the images of each side whose features are at hand.

    A resample's FID is taken to first order, through each image's influence on the distance (the nonparametric delta
    method: Davison and Hinkley, "Bootstrap Methods", 1997, section 2.7). One eigendecomposition then serves every
    resample, where each would need its own; tests compare it with resampling outright.
    """
    resampled = 0.0
    for influence, counts in zip(influences(a, b), (counts_a, counts_b), strict=True):
        if influence is not None and counts is not None:
            resampled = resampled + counts @ influence / len(influence)
    return None if isinstance(resampled, float) else interval(value, value + resampled, floor=0.0)


def influences(a: FeatureSet, b: FeatureSet) -> tuple[np.ndarray | None, np.ndarray | None]:
    """d FID / d weight of every image, times n, each of mean 0: float64 [n_a] and [n_b]; None without features.

    With S_a = A^T A, S_b = B^T B and A B^T = U s V^T, image x of a (centred) has influence
    2 (mu_a - mu_b).x + (|x|^2 - y^T (U s U^T) y) n / (n - 1), where x = A^T y; for b likewise with V.
    """
    fa, fb = factor_of(a.statistics), factor_of(b.statistics)
    product = fa.rows @ fb.rows.T
    difference = torch.from_numpy(a.statistics.mu - b.statistics.mu)
    return (
        _influence(a, fa, product @ product.T, difference),
        _influence(b, fb, product.T @ product, -difference),
    )


def _influence(side: FeatureSet, factor: Factor, gram: torch.Tensor, difference: torch.Tensor) -> np.ndarray | None:
    if side.features is None:
        return None
    values, vectors = torch.linalg.eigh(gram)
    root = vectors * values.clamp(min=0.0).pow(0.25)  # root @ root.T = U s U^T
    n = len(side.features)
    mu = torch.from_numpy(side.statistics.mu)
    influence = torch.empty(n, dtype=torch.float64)
    for start in range(0, n, _BLOCK):
        rows = slice(start, start + _BLOCK)
        centred = torch.from_numpy(side.features[rows]).double() - mu
        # y: the image's own row of A over sqrt(n - 1) where A is the images, else what A takes to the image
        coordinates = root[rows] * np.sqrt(n - 1) if factor.whiten is None else centred @ (factor.whiten @ root)
        spread = centred.square().sum(1) - coordinates.square().sum(1)
        influence[rows] = 2 * centred @ difference + spread * n / (n - 1)
    return (influence - influence.mean()).numpy()


def verdict(n_a: int | None, n_b: int | None, dimensions: int) -> tuple[bool, str]:
    """(enough images, a sentence). Enough: at least as many as features on both sides, of which both are known."""
    counts = [("first", n_a), ("second", n_b)]
    if unknown := [name for name, n in counts if n is None]:
        return False, (
            f"The statistics of the {' and the '.join(unknown)} set do not say of how many images they are: this FID "
            f"cannot be judged. It takes at least {dimensions:,} in each."
        )
    few = [f"the {name} set has {n:,}" for name, n in counts if n is not None and n < dimensions]
    if few:
        return False, (
            f"Too few images: {' and '.join(few)}, fewer than the {dimensions:,} features, so its covariance is "
            "singular and FID is biased upwards by more than models differ. Compare only with scores of the same "
            "counts, and prefer KID."
        )
    return True, (
        f"Both sets have at least {dimensions:,} images. FID still falls as they grow: compare only with scores of "
        "the same counts."
    )


def floor(a: FeatureSet, b: FeatureSet, *, seed: int = 0) -> dict[str, Any] | None:
    """FID of real images against real images at a's sample count, where the reference b is larger; else None.

    Where b's features are at hand and it has at least twice a's images: n_a of them against all the others. Otherwise
    n_a draws from the Gaussian of b's statistics against those, which comes out lower than images do, as features
    have heavier tails than a Gaussian. None where that Gaussian has not full rank: it lies flat in the span of its
    own images, and draws from it come out far too near.

    Returns:
        {"value": .., "n": n_a, "method": "images" or "gaussian"}
    """
    n, reference = a.statistics.n, b.statistics.n
    if n is None or (reference is not None and reference <= n):
        return None
    generator = np.random.default_rng(seed)
    if b.features is not None and len(b.features) >= 2 * n:
        order = generator.permutation(len(b.features))
        drawn, rest = b.features[order[:n]], of_features("rest", b.features[order[n:]]).statistics
        value = frechet_distance(of_features("drawn", drawn).statistics, rest)
        return {"value": value, "n": n, "method": "images"}
    rows = factor_of(b.statistics).rows.numpy()
    if (reference is not None and reference <= rows.shape[1]) or len(rows) < rows.shape[1]:
        return None
    accumulator = Accumulator(rows.shape[1])
    for start in range(0, n, _BLOCK):
        accumulator.add(generator.standard_normal((min(_BLOCK, n - start), len(rows))) @ rows)
    centred = Statistics(np.zeros(rows.shape[1]), b.statistics.sigma, reference)
    return {"value": frechet_distance(accumulator.statistics(), centred), "n": n, "method": "gaussian"}

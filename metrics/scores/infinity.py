"""FID at infinitely many generated images, where its bias in their number is gone.

Chong and Forsyth, "Effectively Unbiased FID and Inception Score and where to find them", CVPR 2020, section 4: FID
of N images is FID_inf + c / N to first order, so a line through FID over 1/N, at several N, meets zero at FID_inf.
The reference stays as it is.
"""

from typing import Any

import numpy as np

from metrics.scores.frechet import frechet_distance
from metrics.sets.featuresets import FeatureSet, of_features
from models import InputError

POINTS = 15
LEAST = 20  # images, for points far enough apart to carry a line


def fid_infinity(a: FeatureSet, b: FeatureSet, *, points: int = POINTS, seed: int = 0) -> dict[str, Any]:
    """The intercept of FID over 1/N of random subsets of `a` against all of `b`.

    Args:
        points: subset sizes, evenly spaced from the smallest to all of a. The smallest is a tenth, but at least
            twice the features, where the line is straight, and at most half of the set.
        seed: of the subsets.
    Returns:
        {"value": intercept (it may fall below 0 by its error), "deviation": its standard error in the fit,
        "slope": c, "points": [[N, FID], ..], "reliable": whether the smallest N reaches the number of features, from
        where the line is straight}
    Raises:
        InputError: fewer than 20 images, or features not at hand.
    """
    if a.features is None or len(a.features) < LEAST:
        raise InputError(f"FID at infinity needs the features of at least {LEAST} generated images.")
    n, d = a.features.shape
    generator = np.random.default_rng(seed)
    sizes = np.linspace(max(n // 10, min(n // 2, 2 * d)), n, points).astype(int)
    found = []
    for size in sizes:
        few = a.features[generator.choice(n, size, replace=False)]
        found.append(frechet_distance(of_features("subset", few).statistics, b.statistics))
    (intercept, slope), covariance = _line(1.0 / sizes, np.array(found))
    return {
        "value": float(intercept),
        "deviation": float(np.sqrt(covariance[0, 0])),
        "slope": float(slope),
        "reliable": bool(sizes[0] >= d),
        "points": [[int(size), float(value)] for size, value in zip(sizes, found, strict=True)],
    }


def _line(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least squares: (intercept, slope) and their covariance."""
    design = np.stack([np.ones_like(x), x], axis=1)
    inverse = np.linalg.inv(design.T @ design)
    solution = inverse @ design.T @ y
    residuals = y - design @ solution
    return solution, inverse * (residuals @ residuals) / (len(x) - 2)

"""FID at infinitely many generated images, where its bias in their number is gone.

Chong and Forsyth, "Effectively Unbiased FID and Inception Score and where to find them", CVPR 2020, section 4: FID
of N images is FID_inf + c / N to first order, so a line through FID over 1/N, at several N, meets zero at FID_inf.
The reference stays as it is.

The intercept is a weighted sum of the FIDs, of weights w_k that sum to 1, and to first order FID of the images S_k is
that of all plus the mean over S_k of the images' influences h (see `trust`). So image i enters the intercept with
v_i h_i, v_i = sum over S_k with i of w_k / |S_k|, and a bootstrap draws these sums again. What the first order leaves
of the FIDs about the line is the second, of which the fit tells the size (MacKinnon and White 1985, HC3: the small
subsets scatter more).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from metrics.scores.frechet import frechet_distance
from metrics.scores.resampling import Counts, interval
from metrics.scores.trust import influences
from metrics.sets.featuresets import FeatureSet, of_features
from models import InputError

POINTS = 15
LEAST = 20  # images, for points far enough apart to carry a line

Array = npt.NDArray[np.float64]


def fid_infinity(
    a: FeatureSet, b: FeatureSet, *, points: int = POINTS, counts: Counts | None = None, seed: int = 0
) -> dict[str, Any]:
    """The intercept of FID over 1/N of random subsets of `a` against all of `b`.

    Args:
        points: subset sizes, evenly spaced from the smallest to all of a. The smallest is a tenth, but at least
            twice the features, where the line is straight, and at most half of the set.
        counts: resamples of a for the interval.
        seed: of the subsets, and of the interval's draws.
    Returns:
        {"value": intercept (it may fall below 0 by its error, as may its interval), "interval": of 95 %, for other
        images of a against this b, "deviation": its standard error in the fit, "slope": c, "points": [[N, FID], ..],
        "reliable": whether the smallest N reaches the number of features, from where the line is straight}
    Raises:
        InputError: fewer than 20 images, or features not at hand.
    """
    features = a.needed()
    if len(features) < LEAST:
        raise InputError(f"FID at infinity needs the features of at least {LEAST} generated images.")
    n, d = features.shape
    generator = np.random.default_rng(seed)
    sizes = np.linspace(max(n // 10, min(n // 2, 2 * d)), n, points).astype(int)
    subsets = [generator.choice(n, size, replace=False) for size in sizes]
    found = np.array(
        [frechet_distance(of_features("subset", features[few]).statistics, b.statistics) for few in subsets]
    )
    design = np.stack([np.ones(points), 1.0 / sizes], axis=1)  # [points, 2]
    solver = np.linalg.inv(design.T @ design) @ design.T  # [2, points]: FIDs to (intercept, slope) by least squares
    intercept, slope = solver @ found
    residuals = found - design @ solver @ found
    variance = residuals @ residuals / (points - 2)
    return {
        "value": float(intercept),
        "interval": _interval(a, b, counts, subsets, found, design, solver, generator),
        "deviation": float(np.sqrt(variance * (solver[0] @ solver[0]))),
        "slope": float(slope),
        "reliable": bool(sizes[0] >= d),
        "points": [[int(size), float(value)] for size, value in zip(sizes, found, strict=True)],
    }


def _interval(
    a: FeatureSet,
    b: FeatureSet,
    counts: Counts | None,
    subsets: Sequence[npt.NDArray[np.int64]],
    found: Array,
    design: Array,
    solver: Array,
    generator: np.random.Generator,
) -> list[float] | None:
    """The bootstrap of the intercept that the head of this file describes."""
    influence, _ = influences(a, FeatureSet(b.name, b.statistics))
    if counts is None or influence is None:
        return None
    weights = solver[0]
    shares = np.zeros(len(influence))  # v
    for weight, few in zip(weights, subsets, strict=True):
        shares[few] += weight / len(few)
    first = counts @ (shares * influence)
    second = found - np.array([influence[few].mean() for few in subsets])
    leverage = (design * solver.T).sum(1)
    scatter = weights * (second - design @ solver @ second) / (1 - leverage)
    degrees = len(found) - 2
    drawn = generator.standard_t(degrees, len(first)) * np.sqrt(scatter @ scatter * (degrees - 2) / degrees)
    return interval(float(weights @ found), first + drawn)

"""Precision, recall, density and coverage: fidelity and variety apart, from nearest neighbours in feature space.

Precision and recall: Kynkaanniemi et al., "Improved Precision and Recall", NeurIPS 2019, eq. 1-3. Density and
coverage: Naeem et al., "Reliable Fidelity and Diversity Metrics", ICML 2020, eq. 5 and 6. Around every image lies a
ball that reaches to its k-th nearest neighbour in its own set:

    precision   generated images inside some real image's ball          fidelity
    recall      real images inside some generated image's ball          variety
    density     real balls that a generated image lies in, over k       fidelity, not swayed by outliers; may pass 1
    coverage    real images whose ball holds a generated image          variety, not swayed by outliers
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from metrics.scores.resampling import Counts, interval_of_mean
from metrics.sets.moments import Features
from models import InputError

NEIGHBOURS = 5
_BLOCK = 1024  # rows of a distance matrix at a time
_ROUNDING = 1e-13  # of squared norms: a smaller squared distance is the same point


def prdc(
    generated: Features,
    real: Features,
    *,
    k: int = NEIGHBOURS,
    counts: tuple[Counts, Counts] | None = None,
) -> dict[str, dict[str, Any]]:
    """The four scores of generated [n, d] against real features [m, d], equal to the package `prdc`.

    Args:
        k: neighbours; 5 as both papers' code.
        counts: resamples of `generated` and of `real` for the intervals. Balls stay as they are, images are drawn
            again: precision and density over the generated, recall and coverage over the real ones.
    Returns:
        {"precision": {"value", "interval", "k"}, "recall": .., "density": .., "coverage": ..}
    Raises:
        InputError: k or fewer images on either side.
    """
    if min(len(generated), len(real)) <= k:
        raise InputError(
            f"Precision, recall, density and coverage with k = {k} need more than {k} images in each set; there are "
            f"{len(generated)} and {len(real)}."
        )
    x, y = torch.from_numpy(real).double(), torch.from_numpy(generated).double()
    real_radii, generated_radii = _radii(x, k), _radii(y, k)
    balls = torch.zeros(len(y), dtype=torch.float64)  # real balls that each generated image lies in
    recalled, covered = torch.empty(len(x)), torch.empty(len(x))
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        squared = _squared_distances(x[rows], y)
        inside = squared < real_radii[rows, None]
        balls += inside.sum(0)
        covered[rows] = inside.any(1).float()
        recalled[rows] = (squared < generated_radii).any(1).float()
    of_generated, of_real = counts or (None, None)
    per_image: dict[str, tuple[Tensor, Counts | None, float]] = {  # each image's value, resamples, the most it can be
        "precision": ((balls > 0).double(), of_generated, 1.0),
        "recall": (recalled, of_real, 1.0),
        "density": (balls / k, of_generated, np.inf),
        "coverage": (covered, of_real, 1.0),
    }
    return {
        name: {
            "value": float(values.double().mean()),
            "interval": interval_of_mean(values.numpy(), chosen, most=most),
            "k": k,
        }
        for name, (values, chosen, most) in per_image.items()
    }


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    norms = x.square().sum(1)[:, None] + y.square().sum(1)  # [n, m]
    squared = norms - 2 * x @ y.T
    return torch.where(squared > _ROUNDING * norms, squared, 0.0)


def _radii(x: Tensor, k: int) -> Tensor:
    """Squared distance of each row to its k-th nearest other row, [n]."""
    radii = torch.empty(len(x), dtype=torch.float64)
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        squared = _squared_distances(x[rows], x)
        squared[:, rows].fill_diagonal_(0.0)
        radii[rows] = squared.kthvalue(k + 1, dim=1).values  # the first is the row itself
    return radii

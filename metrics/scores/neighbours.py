"""Precision, recall, density and coverage: fidelity and variety apart, from nearest neighbours in feature space.

Precision and recall: Kynkaanniemi et al., "Improved Precision and Recall", NeurIPS 2019, eq. 1-3. Density and
coverage: Naeem et al., "Reliable Fidelity and Diversity Metrics", ICML 2020, eq. 5 and 6. Around every image lies a
ball that reaches to its k-th nearest neighbour in its own set, itself not counted:

    precision   generated images inside some real image's ball          fidelity
    recall      real images inside some generated image's ball          variety
    density     real balls that a generated image lies in, over k       fidelity, not swayed by outliers; may pass 1
    coverage    real images whose ball holds a generated image          variety, not swayed by outliers

Precision and recall take the ball with its surface (distance <= radius, eq. 1 of the first paper and its authors'
code), density and coverage without (<, the code of the second's authors, `prdc`, which takes all four without). The
two differ where distances are exactly equal: duplicates, and sets that share images.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from metrics.scores.distances import blocks, squared_distances, squared_radii
from metrics.scores.resampling import Counts, interval_of_mean
from metrics.sets.moments import Features
from models import InputError

NEIGHBOURS = 5


def prdc(
    generated: Features,
    real: Features,
    *,
    k: int = NEIGHBOURS,
    counts: tuple[Counts, Counts] | None = None,
) -> dict[str, dict[str, Any]]:
    """The four scores of generated [n, d] against real features [m, d].

    Args:
        k: which neighbour a ball reaches to: 5 for all four, as Naeem et al. take; Kynkaanniemi et al. report
            precision and recall at 3.
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
    real_radii, generated_radii = squared_radii(x, k), squared_radii(y, k)
    balls = torch.zeros(len(y), dtype=torch.float64)  # real balls that each generated image lies in
    precise = torch.zeros(len(y), dtype=torch.bool)
    recalled, covered = torch.empty(len(x)), torch.empty(len(x))
    for rows in blocks(len(x)):
        squared, rounding = squared_distances(x[rows], y)
        from_real, from_generated = squared - real_radii[rows, None], squared - generated_radii
        inside = from_real < -rounding
        balls += inside.sum(0)
        covered[rows] = inside.any(1).float()
        precise |= (from_real <= rounding).any(0)
        recalled[rows] = (from_generated <= rounding).any(1).float()
    of_generated, of_real = counts or (None, None)
    per_image: dict[str, tuple[Tensor, Counts | None, float]] = {  # each image's value, resamples, the most it can be
        "precision": (precise.double(), of_generated, 1.0),
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

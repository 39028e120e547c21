"""Whether a model gives back its training images: AuthPct and C_T, from nearest neighbours in feature space.

A model that copies its training set has a perfect FID. These two look at the training images themselves:

    authenticity    Alaa et al., "How Faithful is your Synthetic Data?", ICML 2022, section 3.3: the share of generated
                    images that lie farther from their nearest training image than that one lies from the training
                    image nearest to it
    data_copying    Meehan, Chaudhuri, Dasgupta, "A Non-Parametric Test to Detect Data-Copying in Generative Models",
                    AISTATS 2020, eq. 1: whether generated images lie nearer to the training images than held-out real
                    ones do, as a mean over cells of the feature space of Mann and Whitney's Z

The first needs the training images alone and is the sharper the more of them copies repeat; the second needs images of
the same source that were not trained on, and sees a systematic shift where no single image is a copy.
"""

from typing import Any

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from scipy.stats import mannwhitneyu

from metrics.scores.distances import nearest, squared_radii
from metrics.scores.resampling import Counts, interval_of_mean
from metrics.sets.moments import Features
from models import InputError

CELLS = 20  # of the feature space, at most
_LEAST = 20  # generated images in a cell that is counted, and held-out images a cell on average


def authenticity(generated: Features, training: Features, *, counts: Counts | None = None) -> dict[str, Any]:
    """AuthPct over 100: the share of generated [n, d] that repeats no image of `training` [m, d]; 1 is the best.

    Real images that were held out score below 1, too, about 1/2 where both sets are large: read it beside theirs.

    Args:
        counts: resamples of `generated` for the interval.
    Returns:
        {"value", "interval"}
    Raises:
        InputError: fewer than two training images.
    """
    if len(training) < 2:
        raise InputError(f"Authenticity needs two training images or more; there are {len(training)}.")
    x, y = torch.from_numpy(training).double(), torch.from_numpy(generated).double()
    apart = squared_radii(x, 1)
    distance, which = nearest(y, x)
    authentic = (distance > apart[which]).double().numpy()
    return {"value": float(authentic.mean()), "interval": interval_of_mean(authentic, counts, most=1.0)}


def data_copying(generated: Features, training: Features, held_out: Features, *, seed: int = 0) -> dict[str, Any]:
    """C_T: below 0 where generated images lie nearer to the training images than held-out ones; below -3 is copying.

    Z is of a standard normal distribution where both are drawn alike. Above 3 the model underfits: its images lie
    farther away than real ones.

    Args:
        generated, training, held_out: [n, d], [m, d], [l, d]; `held_out` of the source of `training`.
        seed: of the cells, which are k-means' of the training images.
    Returns:
        {"value", "interval": None, "cells": those counted, "of": those made}. Cells with fewer than 20 generated
        images, or no held-out one, are not counted (the paper's threshold tau).
    Raises:
        InputError: fewer than 20 images on a side, or generated images so far from all cells that none counts.
    """
    if min(len(generated), len(training), len(held_out)) < _LEAST:
        raise InputError(
            f"Data copying needs {_LEAST} images or more in each set; there are {len(generated)} generated, "
            f"{len(training)} for training and {len(held_out)} held out."
        )
    wanted = max(1, min(CELLS, len(held_out) // _LEAST, len(training) // _LEAST))
    x = torch.from_numpy(training).double()
    centres, _ = kmeans2(training.astype(np.float64), wanted, minit="++", rng=np.random.default_rng(seed))
    cells = torch.from_numpy(centres)
    (to_training, cell), (unseen_to_training, unseen_cell) = (
        (nearest(y, x)[0].numpy(), nearest(y, cells)[1].numpy())
        for y in (torch.from_numpy(side).double() for side in (generated, held_out))
    )
    scores, weights = [], []
    for index in range(wanted):
        ours, theirs = to_training[cell == index], unseen_to_training[unseen_cell == index]
        if len(ours) >= _LEAST and len(theirs):
            scores.append(_z(ours, theirs))
            weights.append(len(theirs))
    if not scores:
        raise InputError(
            f"No cell of the feature space holds {_LEAST} generated images and a held-out one: the sets are too "
            "small, or have nothing in common."
        )
    return {
        "value": float(np.average(scores, weights=weights)),
        "interval": None,
        "cells": len(scores),
        "of": wanted,
    }


def _z(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Mann and Whitney's U of how often ours are the larger, less its mean, over its deviation (eq. 1's Z_U)."""
    n, m = len(ours), len(theirs)
    larger = mannwhitneyu(ours, theirs, method="asymptotic").statistic
    return float((larger - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12))

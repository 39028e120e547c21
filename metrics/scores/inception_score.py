"""Inception Score: how sharp the classes of single images are, and how varied together.

Salimans et al., "Improved Techniques for Training GANs", NeurIPS 2016, section 4: exp(E_x KL(p(y|x) || p(y))). It
looks at generated images only, and needs the classifier that came with the 2015 weights.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from metrics.scores.resampling import Counts, interval
from models import InputError

SPLITS = 10


def inception_score(
    logits: npt.ArrayLike, *, counts: Counts | None = None, splits: int = SPLITS, seed: int = 0
) -> dict[str, Any]:
    """The score of logits [n, classes] (without the classifier's bias, as everywhere).

    Args:
        counts: resamples for the interval.
        splits: the images are shuffled and split in so many parts, and the parts' scores averaged, as papers report
            it; fewer where there are fewer images.
        seed: of the shuffle.
    Returns:
        {"value": over all images at once, "interval": .., "splits": {"mean", "deviation", "count"}}. The score
        falls with fewer images, so the parts' mean is the lower one.
    Raises:
        InputError: no images.
    """
    scores = np.asarray(logits, dtype=np.float64)
    if not len(scores):
        raise InputError("Inception Score needs at least one image.")
    logs = torch.from_numpy(scores).log_softmax(1).numpy()  # [n, classes]
    probabilities = np.exp(logs)
    negative_entropy = (probabilities * logs).sum(1)  # [n]
    value = _score(probabilities.mean(0), negative_entropy.mean())
    resampled = []
    if counts is not None:
        marginals = counts @ probabilities / len(scores)  # [replicates, classes]
        resampled = [_score(m, e) for m, e in zip(marginals, counts @ negative_entropy / len(scores), strict=True)]
    order = np.random.default_rng(seed).permutation(len(scores))
    parts = [
        _score(probabilities[part].mean(0), negative_entropy[part].mean())
        for part in np.array_split(order, min(splits, len(scores)))
    ]
    return {
        "value": value,
        "interval": interval(value, resampled, floor=1.0),
        "splits": {"mean": float(np.mean(parts)), "deviation": float(np.std(parts)), "count": len(parts)},
    }


def _score(marginal: npt.NDArray[np.float64], mean_negative_entropy: float) -> float:
    present = marginal[marginal > 0]  # p log p is 0 at 0
    return float(np.exp(mean_negative_entropy - present @ np.log(present)))

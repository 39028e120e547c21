"""Kernel Inception Distance: the squared maximum mean discrepancy under a cubic polynomial kernel, unbiased.

Binkowski, Sutherland, Arbel, Gretton, "Demystifying MMD GANs", ICLR 2018, section 4: k(x, y) = (x.y / d + 1)^3.
It may be negative: its expectation for two samples of one distribution is exactly 0, at any sample count.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from metrics.scores.resampling import Counts, interval
from metrics.sets.moments import Features
from models import InputError

SUBSETS = 100
SUBSET_SIZE = 1000
LEAST = 3  # images, for resamples that differ: two are one pair
_BLOCK = 1024  # rows of a kernel matrix at a time


def kid(
    a: Features,
    b: Features,
    *,
    counts: tuple[Counts, Counts] | None = None,
    subsets: int = SUBSETS,
    subset_size: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """KID of two sets of features [n, d] and [m, d].

    Args:
        counts: resamples of a and of b for the interval (`resampling.resample_counts`).
        subsets, subset_size: the estimate averaged over random subsets that most papers report; by default 100 of
            1,000 images, or of half the smaller set where that is less.
        seed: of the subsets.
    Returns:
        {"value": the full estimator, "interval": .. (None of 2 images, which are one pair), "subsets": {"mean",
        "deviation", "count", "size"}}
    Raises:
        InputError: fewer than two images on either side, or a subset size that the sets do not allow.
    """
    smaller = min(len(a), len(b))
    if smaller < 2:
        raise InputError(f"KID needs at least 2 images in each set; there are {len(a)} and {len(b)}.")
    size = subset_size or min(SUBSET_SIZE, max(smaller // 2, 2))
    if not 2 <= size <= smaller:
        raise InputError(f"A KID subset has from 2 to {smaller} images here, not {size}.", where="subset_size")
    x, y = torch.from_numpy(a).double(), torch.from_numpy(b).double()
    wa, wb = (torch.from_numpy(c) for c in counts) if counts else (torch.empty(0, len(a)), torch.empty(0, len(b)))
    one_a, one_b = torch.ones(1, len(a)), torch.ones(1, len(b))
    wa, wb = torch.cat([one_a, wa]).double(), torch.cat([one_b, wb]).double()  # row 0: every image once
    defined = (_pairs(wa) > 0) & (_pairs(wb) > 0)  # of few images a resample may hold one alone, which has no pair
    wa, wb = wa[defined], wb[defined]
    values = (_within(x, wa) + _within(y, wb) - 2 * _between(x, y, wa, wb)).numpy()
    generator = np.random.default_rng(seed)
    parts = [_subset(x, y, size, generator) for _ in range(subsets)]
    return {
        "value": float(values[0]),
        "interval": interval(float(values[0]), values[1:]) if smaller >= LEAST else None,
        "subsets": {
            "mean": float(np.mean(parts)),
            "deviation": float(np.std(parts)),
            "count": subsets,
            "size": size,
        },
    }


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3  # [n, m]


def _within(x: Tensor, counts: Tensor) -> Tensor:
    """Mean kernel over ordered pairs of different images, one for each row of counts [r, n]."""
    total, own = torch.zeros(len(counts), dtype=torch.float64), torch.empty(len(x), dtype=torch.float64)
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        kernel = _kernel(x[rows], x)
        own[rows] = kernel[:, rows].diagonal()
        total += ((counts[:, rows] @ kernel) * counts).sum(1)
    return (total - counts**2 @ own) / _pairs(counts)


def _pairs(counts: Tensor) -> Tensor:
    """Ordered pairs of different images in each resample, [r]."""
    return counts.sum(1) ** 2 - (counts**2).sum(1)


def _between(x: Tensor, y: Tensor, counts_x: Tensor, counts_y: Tensor) -> Tensor:
    total = torch.zeros(len(counts_x), dtype=torch.float64)
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        total += ((counts_x[:, rows] @ _kernel(x[rows], y)) * counts_y).sum(1)
    return total / (counts_x.sum(1) * counts_y.sum(1))


def _subset(x: Tensor, y: Tensor, size: int, generator: np.random.Generator) -> float:
    few_x = x[torch.from_numpy(generator.choice(len(x), size, replace=False))]
    few_y = y[torch.from_numpy(generator.choice(len(y), size, replace=False))]
    once = torch.ones(1, size, dtype=torch.float64)
    return float(_within(few_x, once) + _within(few_y, once) - 2 * _between(few_x, few_y, once, once))

"""Euclidean distances between features, a block of rows at a time: exactly 0 between equal points."""

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 1024  # rows of a distance matrix at a time
_ROUNDING = 1e-13  # of squared norms: a smaller squared distance is the same point


def blocks(rows: int) -> Iterator[slice]:
    """All rows, in slices of BLOCK."""
    return (slice(start, start + BLOCK) for start in range(0, rows, BLOCK))


def squared_distances(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances [n, m], and how far rounding may move each: within it two of them are equal."""
    norms = x.square().sum(1)[:, None] + y.square().sum(1)  # [n, m]
    rounding = _ROUNDING * norms
    squared = norms - 2 * x @ y.T
    return torch.where(squared > rounding, squared, 0.0), rounding


def squared_radii(x: Tensor, k: int) -> Tensor:
    """Squared distance of each row to its k-th nearest other row, [n]."""
    radii = torch.empty(len(x), dtype=x.dtype)
    for rows in blocks(len(x)):
        squared, _ = squared_distances(x[rows], x)
        squared[:, rows].fill_diagonal_(0.0)
        radii[rows] = squared.kthvalue(k + 1, dim=1).values  # the first is the row itself
    return radii


def nearest(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row of x the squared distance to the nearest row of y, [n], and which row that is, [n]."""
    squared, which = torch.empty(len(x), dtype=x.dtype), torch.empty(len(x), dtype=torch.long)
    for rows in blocks(len(x)):
        squared[rows], which[rows] = squared_distances(x[rows], y)[0].min(dim=1)
    return squared, which

"""The Frechet distance between two Gaussians, without a matrix square root.

|mu_a - mu_b|^2 + tr S_a + tr S_b - 2 tr((S_a S_b)^(1/2))     (Dowson and Landau 1982; FID: Heusel et al. 2017, eq. 6)

With any factors S_a = A^T A and S_b = B^T B, the eigenvalues of S_a S_b are the squared singular values of A B^T, so
the last trace is the sum of those singular values. They are real and never negative, whatever the ranks, so the
distance cannot become NaN or imaginary, as it can through `scipy.linalg.sqrtm` of a singular product.

For n <= d images A is the centred features over sqrt(n - 1), [n, d]: exact, and as small as the set. For more, A is
the Cholesky factor of the covariance, or its eigenvectors where it is singular.
"""

from dataclasses import dataclass

import numpy as np
import torch

from metrics.sets.moments import Origin, Statistics
from models import InputError


@dataclass(frozen=True)
class Factor:
    """rows: float64 [r, d] with rows.T @ rows = sigma. whiten: [d, r], x @ whiten being the y with y @ rows = x.

    whiten is None where the rows are the centred images themselves, over sqrt(n - 1).
    """

    rows: torch.Tensor
    whiten: torch.Tensor | None


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """The distance of two sets' statistics; 0 for equal ones, symmetric, never negative.

    Raises:
        InputError: different dimensions, protocols or extractors.
    """
    check_comparable(a.origin, b.origin)
    difference = a.mu - b.mu
    cross = trace_of_root(factor_of(a).rows, factor_of(b).rows)
    distance = difference @ difference + np.trace(a.sigma) + np.trace(b.sigma) - 2.0 * cross
    return max(float(distance), 0.0)  # below zero by rounding only, where the sets are equal


def check_comparable(a: Origin, b: Origin) -> None:
    """Raises InputError where two were not made in the same way; what a file does not say is not held against it."""
    for name, left, right in (("protocol", a.protocol, b.protocol), ("extractor", a.extractor, b.extractor)):
        if left and right and left != right:
            raise InputError(
                f"These statistics differ in their {name} ({left} and {right}) and cannot be compared: extract one "
                "of them again.",
                where=name,
            )
    if a.dimensions != b.dimensions:
        raise InputError(f"Features of {a.dimensions} and {b.dimensions} dimensions cannot be compared.")


def trace_of_root(a: torch.Tensor, b: torch.Tensor) -> float:
    """tr((A^T A B^T B)^(1/2)) of factors [ra, d] and [rb, d], float64: the sum of the singular values of A B^T.

    Where both have full rank d they are taken as roots of the eigenvalues of A B^T B A^T, several times faster and
    as good there: nothing is near zero, where a root would magnify rounding.
    """
    product = a @ b.T  # [ra, rb]
    if min(product.shape) < a.shape[1]:
        return float(torch.linalg.svdvals(product).sum())
    return float(torch.linalg.eigvalsh(product @ product.T).clamp_(min=0.0).sqrt_().sum())


def factor_of(statistics: Statistics) -> Factor:
    """A factor of the covariance, of as few rows as its rank allows."""
    if statistics.factor is not None:
        return Factor(torch.from_numpy(statistics.factor), None)
    sigma = torch.from_numpy(statistics.sigma)
    d = len(sigma)
    if statistics.n is None or statistics.n > d:
        upper, failed = torch.linalg.cholesky_ex(sigma, upper=True)
        if not failed:
            identity = torch.eye(d, dtype=torch.float64)
            return Factor(upper, torch.linalg.solve_triangular(upper, identity, upper=True))
    values, vectors = torch.linalg.eigh(sigma)  # ascending
    # n images span n - 1 dimensions; beyond the rank eigenvalues are rounding, whose roots would not be small
    kept = values > d * torch.finfo(torch.float64).eps * values[-1]
    if statistics.n is not None:
        kept[: max(d - statistics.n + 1, 0)] = False
    roots = values[kept].sqrt()
    return Factor(roots[:, None] * vectors[:, kept].T, vectors[:, kept] / roots)

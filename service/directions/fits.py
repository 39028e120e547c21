"""From two sets of points to the direction that leads from one to the other.

means     mean of b minus mean of a: the arithmetic of Radford et al. 2016, section 6.3.2
linear    the normal of a linear classifier of a against b (InterFaceGAN: Shen et al. 2020, section 2.2), which leaves
          out what the sets merely happen to have in common; here logistic regression with a ridge

Either has the length of the step, along it, from one mean to the other: added once, it moves as far as the sets lie
apart.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from models.errors import InputError

_RIDGE = 1.0  # times half the squared length of the normal, where points have variance 1


@dataclass(frozen=True)
class Fit:
    """A direction float64 [d], finite as float32 too, and the share of points on their own side of the plane halfway
    between the means."""

    vector: np.ndarray
    accuracy: float


def means(a: np.ndarray, b: np.ndarray) -> Fit:
    """Of points [n, d] and [m, d]. Raises InputError where the sets have one mean, or lie too far apart."""
    return _fit(_apart(a, b), a, b)


def linear(a: np.ndarray, b: np.ndarray) -> Fit:
    """Of points [n, d] and [m, d]. Raises InputError where no plane divides the sets better than chance."""
    step = _apart(a, b)
    points = np.concatenate([a, b])
    centre, scale = points.mean(axis=0), points.std(axis=0)
    scale[scale == 0] = 1
    rows = (points - centre) / scale
    signs = np.concatenate([-np.ones(len(a)), np.ones(len(b))])
    weights = np.concatenate([np.full(len(a), 0.5 / len(a)), np.full(len(b), 0.5 / len(b))]) * len(points)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Each set counts for half, whatever its size."""
        normal, bias = parameters[:-1], parameters[-1]
        margins = signs * (rows @ normal + bias)
        slopes = -weights * signs * expit(-margins)
        value = weights @ np.logaddexp(0, -margins) + _RIDGE / 2 * normal @ normal
        return float(value), np.append(rows.T @ slopes + _RIDGE * normal, slopes.sum())

    found = minimize(loss, np.zeros(points.shape[1] + 1), jac=True, method="L-BFGS-B")
    normal = found.x[:-1] / scale
    length = np.linalg.norm(normal)
    along = float(normal @ step) / length if length else 0.0
    if not along > 0:
        raise InputError("No plane divides a from b: take other sets, or method means.", where="method")
    return _fit(normal / length * along, a, b)


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    step = b.mean(axis=0) - a.mean(axis=0)
    if not np.linalg.norm(step) > 1e-6 * max(1.0, float(np.abs(a).max())):
        raise InputError("The two sets have the same mean: no direction leads from one to the other.", where="b")
    if np.linalg.norm(step) > np.finfo(np.float32).max:  # no direction below is longer
        raise InputError("The two sets lie further apart than a float32 can tell.", where="b")
    return step


def _fit(vector: np.ndarray, a: np.ndarray, b: np.ndarray) -> Fit:
    halfway = float(vector @ (a.mean(axis=0) + b.mean(axis=0))) / 2
    right = int((a @ vector < halfway).sum() + (b @ vector > halfway).sum())
    return Fit(vector, right / (len(a) + len(b)))

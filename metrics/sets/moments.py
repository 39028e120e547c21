"""The first two moments of a set of features: all that FID needs, whatever the number of images.

`Accumulator` takes features batch by batch in constant memory; `Statistics` is what it ends as, what `.npz` files
hold, and the whole interface between the network and `frechet`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from metrics.sets.npz import Numbers, read_npz, refused
from models import InputError, atomic_path

Features = npt.NDArray[np.float32]


Array = npt.NDArray[np.floating]

TEXTS = ("protocol", "extractor", "precision")  # members of an `.npz` that say how its statistics were made
_LARGEST = 1e100  # covariances of float32 features stay below 1e78, and a distance multiplies two
_BLOCK_ROWS = 256  # features gathered before one matrix product takes them in; 4 MB at 2048 features


class Origin(NamedTuple):
    """What features are of; two origins are compared only where they are alike (`frechet.check_comparable`)."""

    protocol: str | None
    extractor: str | None
    dimensions: int


@dataclass(frozen=True)
class Statistics:
    """Mean and covariance of n feature vectors, and what they are features of.

    mu: float64 [d].  sigma: float64 [d, d], divided by n - 1 as numpy.cov does.
    n: how many, or None where a file does not say (pytorch-fid's do not).
    protocol, extractor: names, or None where a file does not say; two different names are never compared.
    precision: "float32", or the reduced one they were extracted in.
    factor: float64 [r, d] with factor.T @ factor = sigma, where r < d is known to be enough; else None.
    """

    mu: Array
    sigma: Array
    n: int | None = None
    protocol: str | None = None
    extractor: str | None = None
    precision: str = "float32"
    factor: Array | None = None

    def __post_init__(self) -> None:
        d = self.mu.shape[0] if self.mu.ndim == 1 else -1
        if self.sigma.shape != (d, d):
            raise InputError(
                f"Statistics need mu [d] and sigma [d, d]; these are {list(self.mu.shape)} and "
                f"{list(self.sigma.shape)}."
            )
        if not (_sensible(self.mu) and _sensible(self.sigma)):
            raise InputError("The statistics hold numbers that are not finite, or beyond 1e100: extract them again.")

    @property
    def origin(self) -> Origin:
        return Origin(self.protocol, self.extractor, len(self.mu))

    def save(self, path: str | Path, *, features: Array | None = None) -> None:
        """Writes `.npz` with mu and sigma as pytorch-fid reads them, and n, protocol, extractor, precision.

        Args:
            features: [n, d], kept beside them for the metrics that need them (see `FeatureSet`).
        """
        arrays = {
            "mu": self.mu,
            "sigma": self.sigma,
            "n": np.array(-1 if self.n is None else self.n),
            "protocol": np.array(self.protocol or ""),
            "extractor": np.array(self.extractor or ""),
            "precision": np.array(self.precision),
        }
        if features is not None:
            arrays["features"] = features
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @staticmethod
    def load(path: str | Path) -> "Statistics":
        """Reads what `save` or pytorch-fid wrote (mu and sigma alone).

        Raises:
            NotFoundError: no such file.  InputError: not such an `.npz`, damaged, of other shapes, not finite, not a
            covariance, or of fewer than two images.
        """
        return Statistics.of_members(Path(path).name, *read_npz(Path(path), ("mu", "sigma", "n"), TEXTS))

    @staticmethod
    def of_members(name: str, numbers: Numbers, texts: dict[str, str]) -> "Statistics":
        """Statistics of an `.npz`'s members, as `read_npz` gives them; raises InputError as `load`, naming `name`."""
        if missing := [member for member in ("mu", "sigma") if member not in numbers]:
            raise refused(name, f"without {' and '.join(missing)}")
        mu, sigma = (numbers[member].astype(np.float64) for member in ("mu", "sigma"))
        if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
            raise refused(name, f"mu is {list(mu.shape)} and sigma {list(sigma.shape)}")
        if not (_sensible(mu) and _sensible(sigma)):
            raise refused(name, "some of its numbers are not finite, or beyond 1e100")
        rounding = 1e-4 * np.abs(sigma).max(initial=0.0)  # float32 files are within it
        if np.abs(sigma - sigma.T).max(initial=0.0) > rounding or sigma.diagonal().min(initial=0.0) < -rounding:
            raise InputError(
                f"The sigma in {name} is no covariance: it is not symmetric, or a variance is negative.", where=name
            )
        return Statistics(
            mu,
            sigma,
            _count(name, numbers.get("n")),
            texts.get("protocol") or None,
            texts.get("extractor") or None,
            texts.get("precision") or "float32",
        )


def _sensible(numbers: Array) -> bool:
    """Finite, and small enough that a distance is finite too."""
    return bool((np.abs(numbers) < _LARGEST).all())  # False for NaN


def _count(name: str, n: npt.NDArray[np.generic] | None) -> int | None:
    """How many images a file says it is of; None where it does not say, which `save` writes as -1."""
    if n is None or (n.size == 1 and n.item() == -1):
        return None
    if n.size != 1 or not np.isfinite(n).all() or n.item() != int(n.item()) or n.item() < 2:
        raise InputError(f"{name} says n = {n.tolist()}: that is no number of images, from 2 up.", where=name)
    return int(n.item())


class Accumulator:
    """Takes features into n, mean and scatter, float64; two accumulators merge into what one would hold.

    The scatter is the sum of (x - mean)(x - mean)^T, updated block by block (Chan, Golub, LeVeque, "Updating Formulae
    and a Pairwise Algorithm for Computing Sample Variances", 1982, eq. 2.1). The plain sums of x and x x^T would hold
    the same, but their difference loses the digits that a large common mean takes up.

    Memory does not grow with n: 33 MB for 2048 features once more than 2048 came, their own size before. While n is
    at most d the features themselves are kept, because a covariance of less than full rank is better used through
    them (`frechet`).
    """

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self.n = 0
        self._reduced = 0  # how many have left `_rows` for `_mean` and `_scatter`
        self._mean = np.zeros(dimensions)
        self._scatter: Array | None = None
        self._rows: list[Array] = []
        self._waiting = 0

    def add(self, features: npt.ArrayLike) -> None:
        """Takes in [n, d].

        Raises:
            InputError: another shape, or a feature that is not finite.
        """
        rows = np.asarray(features)
        if rows.ndim != 2 or rows.shape[1] != self.dimensions:
            raise InputError(f"Features must be [n, {self.dimensions}], not {list(rows.shape)}.")
        if not np.isfinite(rows).all():
            raise InputError("The network gave features that are not finite; no score can be made of them.")
        self.n += len(rows)
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = rows[start : start + _BLOCK_ROWS].astype(np.float64)
            self._rows.append(block)
            self._waiting += len(block)
            if self._waiting >= _BLOCK_ROWS and self.n > self.dimensions:
                self._reduce()

    def _reduce(self) -> None:
        if self._rows:
            block = np.concatenate(self._rows)
            mean = block.mean(0)
            block -= mean
            self._take(len(block), mean, block.T @ block)
        self._rows, self._waiting = [], 0

    def _take(self, n: int, mean: Array, scatter: Array) -> None:
        """Adds the moments of n others; `scatter` becomes this accumulator's own."""
        total = self._reduced + n
        shift = mean - self._mean
        if self._scatter is not None:
            scatter += self._scatter
            scatter += np.outer(shift, shift * (self._reduced * n / total))
        self._scatter = scatter
        self._mean = self._mean + shift * (n / total)
        self._reduced = total

    def merge(self, other: "Accumulator") -> None:
        """Takes in everything `other` holds; the split into parts does not matter."""
        if other.dimensions != self.dimensions:
            raise InputError(f"Features of {other.dimensions} and {self.dimensions} dimensions do not merge.")
        self.n += other.n
        self._rows += other._rows
        self._waiting += other._waiting
        if other._scatter is not None:
            self._take(other._reduced, other._mean, other._scatter.copy())
        if self._scatter is not None or self.n > self.dimensions:
            self._reduce()

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All that it holds, as plain arrays: `of_state` goes on from them to the same last digit."""
        rows = np.concatenate(self._rows) if self._rows else np.empty((0, self.dimensions))
        counts = {"n": np.array(self.n), "reduced": np.array(self._reduced)}
        scatter = {} if self._scatter is None else {"scatter": self._scatter}
        return counts | scatter | {"mean": self._mean, "rows": rows}

    @staticmethod
    def of_state(held: Mapping[str, npt.NDArray[Any]]) -> "Accumulator":
        """The accumulator that `state` was asked of."""
        found = Accumulator(len(held["mean"]))
        found.n, found._reduced, found._mean = int(held["n"]), int(held["reduced"]), held["mean"]
        found._scatter = held.get("scatter")
        found._rows, found._waiting = [held["rows"]], len(held["rows"])
        return found

    def statistics(
        self, protocol: str | None = None, extractor: str | None = None, precision: str = "float32"
    ) -> Statistics:
        """Mean and covariance of everything added so far.

        Raises:
            InputError: fewer than two images; one has no covariance.
        """
        if self.n < 2:
            raise InputError(f"A set needs at least 2 images to have a covariance; this one has {self.n}.")
        if self._scatter is None:
            rows = np.concatenate(self._rows)
            mu = rows.mean(0)
            centred = (rows - mu) / np.sqrt(self.n - 1)  # [n, d]
            sigma = centred.T @ centred
            factor = centred if self.n <= self.dimensions else None
            return Statistics(mu, sigma, self.n, protocol, extractor, precision, factor)
        self._reduce()
        sigma = self._scatter / (self.n - 1)
        return Statistics(self._mean.copy(), (sigma + sigma.T) / 2, self.n, protocol, extractor, precision)

"""The first two moments of a set of features: all that FID needs, whatever the number of images.

`Accumulator` takes features batch by batch in constant memory; `Statistics` is what it ends as, what `.npz` files
hold, and the whole interface between the network and `frechet`.
"""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from models import InputError, NotFoundError, atomic_path

Array = npt.NDArray[np.floating]

_BLOCK_ROWS = 256  # features gathered before one matrix product takes them in; 4 MB at 2048 features


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
        if not (np.isfinite(self.mu).all() and np.isfinite(self.sigma).all()):
            raise InputError("The statistics hold numbers that are not finite: extract them again.")

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
            NotFoundError: no such file.  InputError: not such an `.npz`, or not finite, or of other shapes.
        """
        path = Path(path)
        if not path.is_file():
            raise NotFoundError(f"There is no statistics file {path}.", where=str(path))
        try:
            with np.load(path, allow_pickle=False) as file:
                held = {name: file[name] for name in file.files}
            mu, sigma = held["mu"].astype(np.float64), held["sigma"].astype(np.float64)
            n = int(held.get("n", -1))
            protocol, extractor = (str(held.get(key, "")) or None for key in ("protocol", "extractor"))
        except (KeyError, ValueError, TypeError, OSError, BadZipFile, EOFError) as error:
            raise InputError(
                f"{path.name} does not hold FID statistics: it needs the arrays mu [2048] and sigma [2048, 2048] "
                f"({error}).",
                where=path.name,
            ) from error
        precision = str(held.get("precision", "float32"))
        return Statistics(mu, sigma, n if n >= 0 else None, protocol, extractor, precision)


class Accumulator:
    """Sums features into n, mean and outer product, float64; two accumulators merge into what one would hold.

    Memory does not grow with n: 33 MB for 2048 features once more than 2048 came, their own size before. While n is
    at most d the features themselves are kept, because a covariance of less than full rank is better used through
    them (`frechet`).
    """

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self.n = 0
        self._sum = np.zeros(dimensions)
        self._outer: Array | None = None  # sum of x x^T over what has left `_rows`
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
            outer = block.T @ block
            self._outer = outer if self._outer is None else np.add(self._outer, outer, out=self._outer)
            self._sum += block.sum(0)
        self._rows, self._waiting = [], 0

    def merge(self, other: "Accumulator") -> None:
        """Takes in everything `other` holds; sums are added, so the split into parts does not matter."""
        if other.dimensions != self.dimensions:
            raise InputError(f"Features of {other.dimensions} and {self.dimensions} dimensions do not merge.")
        self.n += other.n
        self._rows += other._rows
        self._waiting += other._waiting
        self._sum = self._sum + other._sum
        if other._outer is not None:
            self._outer = other._outer.copy() if self._outer is None else self._outer + other._outer
        if self._outer is not None or self.n > self.dimensions:
            self._reduce()

    def statistics(
        self, protocol: str | None = None, extractor: str | None = None, precision: str = "float32"
    ) -> Statistics:
        """Mean and covariance of everything added so far.

        Raises:
            InputError: fewer than two images; one has no covariance.
        """
        if self.n < 2:
            raise InputError(f"A set needs at least 2 images to have a covariance; this one has {self.n}.")
        if self._outer is None:
            rows = np.concatenate(self._rows)
            mu = rows.mean(0)
            centred = (rows - mu) / np.sqrt(self.n - 1)  # [n, d]
            sigma = centred.T @ centred
            factor = centred if self.n <= self.dimensions else None
            return Statistics(mu, sigma, self.n, protocol, extractor, precision, factor)
        self._reduce()
        mu = self._sum / self.n
        sigma = (self._outer - self.n * np.outer(mu, mu)) / (self.n - 1)
        return Statistics(mu, (sigma + sigma.T) / 2, self.n, protocol, extractor, precision)

"""A set of images as metrics see it: its statistics and, where they are needed and not too many, its features.

FID alone needs the statistics only, in memory that does not grow with the images. Everything else (intervals, KID,
precision and its kin) needs the features: 8 KB an image, kept up to FEATURE_LIMIT images.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metrics.sets.moments import TEXTS, Accumulator, Features, Statistics
from metrics.sets.npz import read_npz
from models import InputError, LimitError

FEATURE_LIMIT = 50_000  # 410 MB of float32


@dataclass(frozen=True)
class FeatureSet:
    """name: of the source.  statistics: of all its images.  features: float32 [n, d] in order, or None.

    As `.npz` it is what pytorch-fid reads (mu and sigma), with n, protocol, extractor, precision, and the features.
    """

    name: str
    statistics: Statistics
    features: Features | None = None

    def save(self, path: str | Path) -> None:
        """Writes the `.npz`, atomically."""
        self.statistics.save(path, features=self.features)

    def first(self, count: int) -> "FeatureSet":
        """The set of the first `count` images alone (all, where there are fewer); raises InputError without features.

        Samples of a checkpoint follow their seeds, so this is what a smaller draw from the same seed would give.
        """
        if self.features is None:
            raise InputError(f"{self.name} has statistics only: its first {count:,} images cannot be told apart.")
        known = self.statistics
        few = self.features[:count]
        return of_features(self.name, few, known.protocol, known.extractor, known.precision)

    def needed(self) -> Features:
        """The features; raises InputError, or LimitError where they were too many to keep, without them."""
        if self.features is None:
            if self.statistics.n is not None:
                check_kept(self.name, self.statistics.n)
            raise InputError(
                f"{self.name} holds statistics only. Metrics other than FID need the features: give the images, or an "
                ".npz written with features.",
                where=self.name,
            )
        return self.features

    @staticmethod
    def load(path: str | Path) -> "FeatureSet":
        """Reads any `.npz` of statistics, with features or without; raises as `Statistics.load`."""
        name = Path(path).name
        numbers, texts = read_npz(Path(path), ("mu", "sigma", "n", "features"), TEXTS)
        statistics = Statistics.of_members(name, numbers, texts)
        if "features" not in numbers:
            return FeatureSet(name, statistics)
        features = numbers["features"].astype(np.float32, copy=False)
        if features.shape != (statistics.n, len(statistics.mu)):
            raise InputError(
                f"{name} holds features of shape {list(features.shape)} beside n = {statistics.n} and mu of "
                f"{len(statistics.mu)}: they do not belong together.",
                where=name,
            )
        # from the features again, for the exact low-rank factor
        return of_features(name, features, statistics.protocol, statistics.extractor, statistics.precision)


def check_kept(name: str, n: int) -> None:
    """Raises LimitError where features of so many images are not kept."""
    if n > FEATURE_LIMIT:
        raise LimitError(
            f"{name} has {n:,} images; metrics other than FID keep features, of at most {FEATURE_LIMIT:,}."
        )


def of_features(
    name: str,
    features: Features,
    protocol: str | None = None,
    extractor: str | None = None,
    precision: str = "float32",
) -> FeatureSet:
    """A set from features [n, d] already at hand; raises InputError for fewer than 2 or for ones not finite."""
    accumulator = Accumulator(features.shape[1])
    accumulator.add(features)
    return FeatureSet(name, accumulator.statistics(protocol, extractor, precision), features)

"""The metrics by name: what each needs, and how it is measured. A new one is a function and a row here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy.typing as npt

from metrics.scores import trust
from metrics.scores.frechet import frechet_distance
from metrics.scores.inception_score import inception_score
from metrics.scores.infinity import fid_infinity
from metrics.scores.kernel import kid
from metrics.scores.memorisation import authenticity, data_copying
from metrics.scores.neighbours import prdc
from metrics.scores.resampling import Counts
from metrics.sets.featuresets import FeatureSet
from metrics.sets.moments import Features


@dataclass(frozen=True)
class Side:
    """One of the two sets, and resamples of its images for intervals: None without them, or without features."""

    set: FeatureSet
    counts: Counts | None

    @property
    def features(self) -> Features:
        return self.set.needed()


@dataclass(frozen=True)
class Comparison:
    """What a metric is asked: `a` generated, `b` real (the same again where only `a` is looked at).

    held_out: real images of the source of `b` that the model was not trained on, where a row asks for them.
    seed: of subsets, shuffles and draws.  logits: features [n, d] -> [n, classes], where there is a classifier.
    """

    a: Side
    b: Side
    held_out: Side | None
    seed: int
    logits: Callable[[Features], npt.ArrayLike]

    @property
    def counts(self) -> tuple[Counts, Counts] | None:
        """Resamples of both sides, or of neither."""
        if self.a.counts is None or self.b.counts is None:
            return None
        return self.a.counts, self.b.counts


@dataclass(frozen=True)
class Metric:
    """A row of the table.

    sides: sets that it looks at.  features: whose features it cannot do without, beside the statistics of both.
    held_out: whether it needs real images that were held out, with their features.
    classifier: whether it needs the classifier's logits.
    measure: gives the result's members by name.
    """

    name: str
    measure: Callable[[Comparison], dict[str, Any]]
    sides: Literal[1, 2] = 2
    features: Literal["neither", "generated", "both"] = "neither"
    held_out: bool = False
    classifier: bool = False


def _fid(both: Comparison) -> dict[str, Any]:
    a, b = both.a.set, both.b.set
    value = frechet_distance(a.statistics, b.statistics)
    reliable, sentence = trust.verdict(a.statistics.n, b.statistics.n, len(a.statistics.mu))
    return {
        "fid": {
            "value": value,
            "interval": trust.fid_interval(a, b, value, both.a.counts, both.b.counts),
            "reliable": reliable,
            "verdict": sentence,
            "floor": trust.floor(a, b, seed=both.seed),
        }
    }


def _kid(both: Comparison) -> dict[str, Any]:
    return {"kid": kid(both.a.features, both.b.features, counts=both.counts, seed=both.seed)}


def _prdc(both: Comparison) -> dict[str, Any]:
    return dict(prdc(both.a.features, both.b.features, counts=both.counts))


def _authenticity(both: Comparison) -> dict[str, Any]:
    return {"authenticity": authenticity(both.a.features, both.b.features, counts=both.a.counts)}


def _data_copying(both: Comparison) -> dict[str, Any]:
    held_out = both.held_out or both.b  # there is one: the row asks for it
    return {"data_copying": data_copying(both.a.features, both.b.features, held_out.features, seed=both.seed)}


def _is(both: Comparison) -> dict[str, Any]:
    return {"is": inception_score(both.logits(both.a.features), counts=both.a.counts, seed=both.seed)}


def _fid_infinity(both: Comparison) -> dict[str, Any]:
    return {"fid_infinity": fid_infinity(both.a.set, both.b.set, counts=both.a.counts, seed=both.seed)}


TABLE = {
    metric.name: metric
    for metric in (
        Metric("fid", _fid),
        Metric("kid", _kid, features="both"),
        Metric("prdc", _prdc, features="both"),
        Metric("authenticity", _authenticity, features="both"),
        Metric("data_copying", _data_copying, features="both", held_out=True),
        Metric("is", _is, sides=1, features="generated", classifier=True),
        Metric("fid_infinity", _fid_infinity, features="generated"),
    )
}
METRICS = tuple(TABLE)

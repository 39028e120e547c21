"""The table of metrics: what a row says that it needs is what it needs, and a new row is all that a metric takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import metrics
from metrics.scores import table
from metrics.scores.table import Comparison, Metric
from metrics.sets.featuresets import FeatureSet, of_features
from models import InputError


def side(seed: int) -> FeatureSet:
    return of_features(f"side {seed}", np.random.default_rng(seed).normal(size=(40, 24)).astype(np.float32))


def bare(seed: int) -> FeatureSet:
    return FeatureSet(f"bare {seed}", side(seed).statistics)


@pytest.mark.parametrize("name", metrics.METRICS)
def test_a_row_needs_what_it_says_and_no_more(name: str, small: metrics.Extractor) -> None:
    row = table.TABLE[name]
    a, b = (
        side(1) if row.features in ("generated", "both") else bare(1),
        side(2) if row.features == "both" else bare(2),
    )
    network, held_out = small if row.classifier else None, side(3) if row.held_out else None
    least = metrics.score(a, b if row.sides == 2 else None, held_out=held_out, metrics=(name,), extractor=network)
    assert set(least) > {"a", "b", "protocol"}
    if row.features != "neither":
        with pytest.raises(InputError, match="bare 1 holds statistics only"):
            metrics.score(bare(1), b, held_out=held_out, metrics=(name,), extractor=network)
    if row.features == "both":
        with pytest.raises(InputError, match="bare 2 holds statistics only"):
            metrics.score(a, bare(2), held_out=held_out, metrics=(name,), extractor=network)
    if row.sides == 2:
        with pytest.raises(InputError, match="give them as b"):
            metrics.score(a, held_out=held_out, metrics=(name,), extractor=network)
    if row.held_out:
        with pytest.raises(InputError, match="give them as held_out"):
            metrics.score(a, b, metrics=(name,), extractor=network)
        with pytest.raises(InputError, match="bare 3 holds statistics only"):
            metrics.score(a, b, held_out=bare(3), metrics=(name,), extractor=network)
        assert least["held_out"]["n"] == 40
    else:
        with pytest.raises(InputError, match="and only there"):
            metrics.score(a, b, held_out=side(3), metrics=(name,), extractor=network)


@pytest.fixture
def mean_distance(monkeypatch: pytest.MonkeyPatch) -> str:
    """A metric of a few lines."""

    def measure(both: Comparison) -> dict[str, Any]:
        return {"mean_distance": float(np.abs(both.a.features.mean(0) - both.b.features.mean(0)).sum())}

    monkeypatch.setitem(table.TABLE, "mean_distance", Metric("mean_distance", measure, features="both"))
    return "mean_distance"


def test_a_new_metric_is_a_row(mean_distance: str) -> None:
    found = metrics.score(side(1), side(2), metrics=("fid", mean_distance, "fid"), bootstrap=0)
    assert found["mean_distance"] > 0
    assert found["fid"] == metrics.score(side(1), side(2), bootstrap=0)["fid"]

"""Scores during training: the function that the service calls, on what the service would serve."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

import metrics
from metrics import World
from training.games.family import Evaluation
from training.options.shared import Watch
from training.run.state import Progress

Scores = dict[str, dict[str, Any]]
TRIED = 16  # generated images, to see whether they can be compared at all


class Scorer:
    """Measures FID (and KID) of a family's evaluations.

    The references' features are computed before the first step and kept in the run's folder, and a few generated images
    are compared with each, so that anything wrong with them is said then. Under torchrun every process must call, and
    each extracts its part.
    """

    def __init__(
        self,
        watch: Watch,
        evaluations: Mapping[str, Evaluation],
        folder: Path,
        digest: str,
        world: World,
        extractor: metrics.Extractor | None = None,
    ) -> None:
        """Raises WeightsUnavailable without Inception's weights, what `metrics.custom_extractor` raises for one of the
        user's own, and InputError for a reference that is none, or that generated images cannot be compared with: of
        another extractor or protocol, or without features for KID."""
        self.watch, self.evaluations = watch, evaluations
        self.names = ("fid", "kid") if watch.kid else ("fid",)
        self.references: dict[str, metrics.FeatureSet] = {}
        if watch.fid_kimg == 0:
            return
        self.extractor = extractor or _extractor(watch.extractor)
        for name, evaluation in evaluations.items():
            same = (other for other in self.references if evaluations[other].reference is evaluation.reference)
            known = self.references.get(next(same, ""))
            self.references[name] = known or self._reference(name, evaluation.reference, folder, digest, world)
            self._measure(name, TRIED)

    def _reference(
        self, name: str, reference: Tensor | str, folder: Path, digest: str, world: World
    ) -> metrics.FeatureSet:
        chosen = reference if isinstance(reference, str) else ""
        key = hashlib.sha256(f"{digest} {chosen} {self.watch.kid} {self.extractor.name}".encode())
        kept = folder / f"reference{'-' + name if name else ''}-{key.hexdigest()[:8]}.npz"
        if kept.exists():
            return metrics.features(kept)
        source = reference if isinstance(reference, str) else reference.numpy()
        found = metrics.features(source, extractor=self.extractor, keep=self.watch.kid)
        if world.first:
            found.save(kept)
        return found

    def _measure(self, name: str, images: int) -> dict[str, Any]:
        return metrics.score(
            self.evaluations[name].fakes(images),
            self.references[name],
            metrics=self.names,
            extractor=self.extractor,
            bootstrap=0,
        )

    def __call__(self) -> Scores:
        """{"fid": result, ...}; with several evaluations {"fid_a_to_b": result, ...}. Results as `metrics.score`'s."""
        scores: Scores = {}
        for name, evaluation in self.evaluations.items():
            result = self._measure(name, self.watch.fid_images)
            about = {"protocol": result["protocol"], "generated": result["a"], "reference": result["b"]}
            if self.watch.extractor:  # a record that names none is of the Inception
                about["extractor"] = result["extractor"]
            for metric in self.names:
                scores[f"{metric}_{name}" if name else metric] = result[metric] | about | dict(evaluation.about)
        return scores


def _extractor(path: str) -> metrics.Extractor:
    return metrics.custom_extractor(path) if path else metrics.extractor()


def keep_best(scores: Scores, progress: Progress) -> bool:
    """Remembers these scores in `progress` where they are the best so far; returns whether they are.

    Best is the lowest FID; with several (both directions, samples and reconstructions), the lowest mean of them. A run
    that went on with another extractor begins anew: distances of two do not compare.
    """
    found = [result for name, result in scores.items() if name.startswith("fid")]
    value = sum(result["value"] for result in found) / len(found)
    by = {"extractor": found[0]["extractor"]} if "extractor" in found[0] else {}
    if progress.best and progress.best.get("extractor") == by.get("extractor") and progress.best["value"] <= value:
        return False
    progress.best = {"metric": "fid", "value": float(value), "images": progress.images, **by}
    return True

"""Scores during training: the function that the service calls, on what the service would serve."""

import hashlib
from pathlib import Path
from typing import Any

import metrics
from metrics import World
from training.games.game import Evaluation
from training.options.shared import Watch
from training.run.state import Progress

Scores = dict[str, dict[str, Any]]


class Scorer:
    """Measures FID (and KID) of a game's evaluations.

    The references' features are computed before the first step, so that anything wrong with them is said then, and
    kept in the run's folder. Under torchrun every process must call, and each extracts its part.
    """

    def __init__(
        self,
        watch: Watch,
        evaluations: dict[str, Evaluation],
        folder: Path,
        digest: str,
        world: World,
        extractor: metrics.Extractor | None = None,
    ) -> None:
        """Raises WeightsUnavailable without Inception's weights, and InputError for a reference that is none."""
        self.watch, self.evaluations = watch, evaluations
        self.names = ("fid", "kid") if watch.kid else ("fid",)
        self.references: dict[str, metrics.FeatureSet] = {}
        if watch.fid_kimg == 0:
            return
        self.extractor = extractor or metrics.extractor()
        for name, evaluation in evaluations.items():
            key = hashlib.sha256(f"{digest} {watch.fid_reference} {watch.kid} {self.extractor.name}".encode())
            kept = folder / f"reference{'-' + name if name else ''}-{key.hexdigest()[:8]}.npz"
            if kept.exists():
                self.references[name] = metrics.features(kept)
                continue
            source = watch.fid_reference or evaluation.reference.numpy()
            self.references[name] = metrics.features(source, extractor=self.extractor, keep=watch.kid)
            if world.first:
                self.references[name].save(kept)

    def __call__(self) -> Scores:
        """{"fid": result, ...}; with several evaluations {"fid_a_to_b": result, ...}. Results as `metrics.score`'s."""
        scores: Scores = {}
        for name, evaluation in self.evaluations.items():
            result = metrics.score(
                evaluation.fakes(self.watch.fid_images),
                self.references[name],
                metrics=self.names,
                extractor=self.extractor,
                bootstrap=0,
            )
            about = {"protocol": result["protocol"], "generated": result["a"], "reference": result["b"]}
            for metric in self.names:
                scores[f"{metric}_{name}" if name else metric] = result[metric] | about
        return scores


def keep_best(scores: Scores, progress: Progress) -> bool:
    """Remembers these scores in `progress` where they are the best so far; returns whether they are.

    Best is the lowest FID; with two directions, the lowest mean of both.
    """
    values = [result["value"] for name, result in scores.items() if name.startswith("fid")]
    value = sum(values) / len(values)
    if progress.best and progress.best["value"] <= value:
        return False
    progress.best = {"metric": "fid", "value": float(value), "images": progress.images}
    return True

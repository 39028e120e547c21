"""Scores during training: the function that the service calls, on what the service would serve."""

from typing import Any

from training.config import Watch
from training.game import Evaluation
from training.state import Progress

Scores = dict[str, dict[str, Any]]


class Scorer:
    """Measures FID (and KID) of a game's evaluations. The references' statistics are computed once and kept."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.names = ("fid", "kid") if watch.kid else ("fid",)
        self.references: dict[str, Any] = {}
        self.latest: Scores = {}

    def __call__(self, evaluations: dict[str, Evaluation]) -> Scores:
        """{"fid": result, ...}; with several evaluations {"fid_a_to_b": result, ...}. Results as `metrics.score`'s."""
        import metrics  # here, since a run without scores need not load it

        scores = {}
        for name, evaluation in evaluations.items():
            reference = self.references.setdefault(name, self._reference(evaluation))
            result = metrics.score(reference, evaluation.fakes(self.watch.fid_images), metrics=self.names)
            for metric in self.names:
                scores[f"{metric}_{name}" if name else metric] = result[metric]
        self.latest = scores
        return scores

    def _reference(self, evaluation: Evaluation) -> Any:
        return self.watch.fid_reference or evaluation.reference.numpy()


def value_of(scores: Scores) -> float:
    """The figure by which snapshots are compared: FID, the mean of both directions where there are two."""
    values = [result["value"] for name, result in scores.items() if name.startswith("fid")]
    return float(sum(values) / len(values))


def keep_best(scores: Scores, progress: Progress) -> bool:
    """Remembers these scores in `progress` where they are the best so far; returns whether they are."""
    if not scores:
        return False
    value = value_of(scores)
    if progress.best and progress.best["value"] <= value:
        return False
    progress.best = {"metric": "fid", "value": value, "images": progress.images}
    return True

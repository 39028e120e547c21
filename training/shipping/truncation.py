"""The truncation curve of a sampler: what quality costs in variety (Brock, Donahue, Simonyan 2019, section 3.1).

    fid_truncated_0.5, recall_truncated_0.5    of latents whose components were drawn again beyond 0.5, ...
    fid_truncated_off, recall_truncated_off    ... and of all latents

The paper has the Inception score in the place of recall; that one counts ImageNet's classes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import metrics
from metrics import Samples
from models.images import Pixels
from training.engine.packages import without_a_notebooks_backend
from training.shipping.measure import SamplerPlan, entry, evenly

THRESHOLDS: tuple[float | None, ...] = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, None)  # None: off
MEASURED = ("fid", "recall")


def measured(
    checkpoint: Path,
    plan: SamplerPlan,
    progress: Callable[[str], None],
    extractor: metrics.Extractor | None = None,
) -> dict[str, Any]:
    """FID and recall at each threshold, of `plan.feature_images` samples against as many unseen images.

    Args:
        extractor: by default the Inception.
    """
    found = {}
    real = metrics.features(evenly(plan.unseen, plan.feature_images), extractor=extractor)
    for threshold in THRESHOLDS:
        progress(f"FID and recall, truncation {_word(threshold)}")
        samples = Samples(checkpoint, plan.feature_images, truncation=threshold)
        drawn = metrics.features(samples, extractor=extractor)
        result = metrics.score(drawn, real, metrics=("fid", "prdc"), extractor=extractor)
        for name in MEASURED:
            found[_key(name, threshold)] = entry(result, name, plan.unseen.name)
    return found


def curve(found: Mapping[str, Any]) -> Pixels | None:
    """A checkpoint's metrics -> FID against recall, a point for each threshold: uint8 [h, w, 3]; None where they are
    not among them."""
    points = {
        _word(threshold): (found[_key("recall", threshold)]["value"], found[_key("fid", threshold)]["value"])
        for threshold in THRESHOLDS
        if _key("fid", threshold) in found
    }
    if not points:
        return None
    with without_a_notebooks_backend():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=110)
    canvas = FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.plot(*zip(*points.values(), strict=True), marker="o", linewidth=1)
    for word, point in points.items():
        axis.annotate(word, point, xytext=(5, 5), textcoords="offset points", fontsize=8)
    axis.set_xlabel("recall (higher is more of the data's variety)")
    axis.set_ylabel("FID (lower is nearer to the data)")
    axis.grid(alpha=0.3)
    figure.tight_layout()
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _word(threshold: float | None) -> str:
    return "off" if threshold is None else f"{threshold:g}"


def _key(name: str, threshold: float | None) -> str:
    return f"{name}_truncated_{_word(threshold)}"

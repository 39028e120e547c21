"""A second Frechet distance for the card of a sampler, in features that learned its training images and nothing else.

    fid_same_count            FID of as many generated images as there are unseen real ones
    fid_real                  FID of those unseen images themselves: the floor at that count
    frechet_classifier        the distance in the features of a classifier (`python -m training classifier`)
    frechet_classifier_real   its floor

FID sees through ImageNet's labels, and flatters models whose discriminator did so too (Kynkäänniemi et al. 2023). What
both distances say, in multiples of their floors and in the order that they put models in, is worth more than either.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import metrics
from metrics import Samples
from models import GanError, Metadata, read_metadata
from models.images import Pixels
from training.shipping.measure import SamplerPlan, entry, evenly

DISTANCES = {"fid_same_count": "fid_real", "frechet_classifier": "frechet_classifier_real"}  # and their floors


def measured(
    checkpoint: Path,
    plan: SamplerPlan,
    progress: Callable[[str], None],
    extractor: metrics.Extractor | None = None,
) -> dict[str, Any]:
    """The four entries of the checkpoint's metrics; none where the plan has no classifier.

    Args:
        extractor: of FID; by default the Inception.
    Raises:
        InputError and its kin: a classifier that is none, or whose file is not there.
    """
    if plan.classifier is None:
        return {}
    judge = metrics.custom_extractor(plan.classifier)
    found = {}
    unseen = evenly(plan.unseen, plan.images)
    for (name, floor), network, reference in zip(
        DISTANCES.items(), (extractor, judge), (plan.reference, plan.training), strict=True
    ):
        progress(f"{name.replace('_', ' ')} and its floor")
        real = metrics.features(unseen, extractor=network)
        wanted = metrics.features(reference, extractor=network, keep=False)
        drawn = metrics.features(Samples(checkpoint, real.statistics.n or plan.images), extractor=network)
        for key, one in ((name, drawn), (floor, real)):
            found[key] = entry(metrics.score(one, wanted, extractor=network), "fid", plan.training.name)
    return found


def nearest(checkpoint: Path, plan: SamplerPlan, count: int) -> Pixels:
    """The training images nearest to the samples of seeds 0, 1, ... in the classifier's features: uint8 [count, ...].

    The plan must have a classifier.
    """
    assert plan.classifier is not None
    judge = metrics.custom_extractor(plan.classifier)
    drawn, known = (
        torch.from_numpy(metrics.features(source, extractor=judge).needed())
        for source in (Samples(checkpoint, count), plan.training)
    )
    chosen = torch.cdist(drawn, known).argmin(dim=1).tolist()
    loaders = list(plan.training.loaders())
    return np.stack([loaders[index]() for index in chosen])


def said(checkpoint: Path, metadata: Metadata) -> list[str]:
    """What the two distances say of this model and of those beside it, in a sentence each; none where they are not
    measured."""
    if not set(DISTANCES) <= metadata.metrics.keys():
        return []
    times = [metadata.metrics[name]["value"] / metadata.metrics[floor]["value"] for name, floor in DISTANCES.items()]
    first = (
        f"FID is {times[0]:.1f} times its floor, what as many real images score; the distance in the features of a "
        f"classifier that learned these data alone is {times[1]:.1f} times its own."
    )
    return [first, _ranks(_alike(checkpoint, metadata))]


def _alike(checkpoint: Path, metadata: Metadata) -> dict[str, list[float]]:
    """The values of both distances, by the names of models that were measured in the same way as this one."""
    found = {}
    for path in sorted(checkpoint.parent.glob("*.safetensors")):
        try:
            other = metadata if path == checkpoint else read_metadata(path)
        except (GanError, OSError):
            continue
        if all(_way(other, name) == _way(metadata, name) for name in DISTANCES):
            found[path.stem] = [other.metrics[name]["value"] for name in DISTANCES]
    return found


def _way(metadata: Metadata, name: str) -> list[Any]:
    """What must be equal for two values to be compared. Not the digest of the data, which covers classes, too."""
    known = metadata.metrics.get(name, {})
    keys = ("images", "reference", "reference_images", "protocol", "extractor", "precision")
    return [metadata.training.get("dataset"), *(known.get(key) for key in keys)]


def _ranks(models: dict[str, list[float]]) -> str:
    """What the orders by the two distances disagree on."""
    if len(models) < 2:
        return "No other model here was measured so: there are no ranks to compare."
    by_fid, by_classifier = (sorted(models, key=lambda name: models[name][number]) for number in range(2))
    if by_fid == by_classifier:
        return f"Both distances put the {len(models)} models measured so in one order, best first: {', '.join(by_fid)}."
    moved = [one for one, other in zip(by_fid, by_classifier, strict=True) if one != other]
    return (
        f"The distances disagree on {' and '.join(moved)}: by FID the order is, best first, {', '.join(by_fid)}; by "
        f"the classifier's features {', '.join(by_classifier)}."
    )

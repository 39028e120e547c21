"""What a model card measures: the scores of a shipped checkpoint, through the function that the service calls.

Samplers are compared with the training images (FID's convention) and, where features of both sides are needed (KID,
precision, recall), with real images that they never saw. Translators are compared with the other domain's test
photos, beside what the untouched photos score: a translation has to beat "did nothing". Autoencoders are samplers whose
reconstructions of unseen images are compared with those images, and whose encoders are probed, where there are classes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial, singledispatch
from pathlib import Path
from typing import Any

import numpy as np
import torch

import metrics
from metrics import Samples
from models import Autoencoder, Direction, Generator, InputError, Model, Translator, filesets, load, to_float, to_uint8
from models.images import Pixels
from training.data.images import Keep, load_images, load_labelled, spread
from training.data.layouts import Split
from training.games.sampler import SamplerRun
from training.shipping import likeness, rulers
from training.shipping.probe import probe
from training.shipping.rulers import mean_over_photos

FEATURE_METRICS = ("kid", "prdc")


@dataclass(frozen=True)
class SamplerPlan:
    """What to measure a sampler with. Nothing is read before it is needed.

    reference: the training images, their features, or the `.npz` of their statistics, for FID.
    unseen: real images that were not trained on, for KID, precision and recall, and to find the failures.
    images: generated images for FID.
    feature_images: generated images for KID, precision and recall, against as many of the unseen.
    training: the training images.
    classifier: one that learned them, for a second distance (`second.py`) and the nearest training images; or None.
    """

    reference: metrics.Images | metrics.FeatureSet | Path
    unseen: metrics.Images
    training: metrics.Images
    images: int = 10_000
    feature_images: int = 2_000
    classifier: Path | None = None


@dataclass(frozen=True)
class AutoencoderPlan:
    """What to measure an autoencoder with: as a sampler, and `data`, whose classes its encoder is probed for."""

    sampler: SamplerPlan
    data: str


@dataclass(frozen=True)
class TranslatorPlan:
    """What to measure a translator with.

    data: a folder with trainA, trainB, testA and testB.
    outlines: a folder with testA and testB, of outlines of what is translated (`outlines.py`), for how far the
        background moves; None: that is not measured.
    pairs: testA and testB show the same things under the same names (`likeness.py`).
    """

    data: Path
    outlines: Path | None = None
    pairs: bool = False


Plan = SamplerPlan | AutoencoderPlan | TranslatorPlan
Progress = Callable[[str], None]


def measure(
    checkpoint: Path, plan: Plan, progress: Progress, extractor: metrics.Extractor | None = None
) -> dict[str, Any]:
    """The `metrics` of a checkpoint's metadata: name -> value, interval, counts, protocol, reference.

    Args:
        extractor: by default the Inception.

    Raises:
        InputError: the plan is one for models of another face.  WeightsUnavailable.
    """
    return _measured(plan, checkpoint, progress, extractor)


@singledispatch
def _measured(plan: Plan, checkpoint: Path, progress: Progress, extractor: metrics.Extractor | None) -> dict[str, Any]:
    raise NotImplementedError(plan)


@_measured.register
def _measured_sampler(
    plan: SamplerPlan, checkpoint: Path, progress: Progress, extractor: metrics.Extractor | None
) -> dict[str, Any]:
    """FID against the training images; KID, precision and recall against unseen ones."""
    load(checkpoint, Generator)
    progress(f"features of {plan.images:,} generated images")
    generated = metrics.features(Samples(checkpoint, plan.images), extractor=extractor)
    progress("features of the training images")
    result = metrics.score(generated, plan.reference, metrics=("fid",), extractor=extractor)
    found = {"fid": entry(result, "fid", plan.reference.name)}
    progress(f"features of {plan.feature_images:,} unseen images")
    few = generated.first(plan.feature_images)
    result = metrics.score(few, evenly(plan.unseen, plan.feature_images), metrics=FEATURE_METRICS, extractor=extractor)
    for name in ("kid", "precision", "recall"):
        found[name] = entry(result, name, plan.unseen.name)
    return found


@_measured.register
def _measured_autoencoder(
    plan: AutoencoderPlan, checkpoint: Path, progress: Progress, extractor: metrics.Extractor | None
) -> dict[str, Any]:
    """What a sampler is measured by; FID of unseen images, against the training images, and drawn again, against
    themselves; the encoder's probe."""
    model, unseen = load(checkpoint, Autoencoder), evenly(plan.sampler.unseen, plan.sampler.images)
    progress("features of the training images")
    training = metrics.features(plan.sampler.reference, extractor=extractor, keep=False)
    found = _measured_sampler(replace(plan.sampler, reference=training), checkpoint, progress, extractor)
    progress("unseen images, and their reconstructions")
    real = metrics.features(unseen, extractor=extractor)
    found["fid_real"] = entry(metrics.score(real, training), "fid", training.name)
    again = metrics.features(reconstructions(model, unseen), extractor=extractor)
    found["fid_reconstructions"] = entry(metrics.score(again, real), "fid", unseen.name)
    try:
        data = load_labelled(plan.data, model.image_size, model.channels)
    except InputError as error:
        if error.where != "conditional":  # without classes there is nothing to probe for
            raise
        return found
    progress("probe of the encoder")
    return found | probe(model, *data)


@_measured.register
def _measured_translator(
    plan: TranslatorPlan, checkpoint: Path, progress: Progress, extractor: metrics.Extractor | None
) -> dict[str, Any]:
    """FID and KID of every direction on the test photos, beside them of the untouched photos and of as many real ones
    of the other domain, and the rulers of `rulers.py`."""
    model = load(checkpoint, Translator)
    photos = {side: test_photos(plan, side) for side in "ab"}
    real = {}
    for side in "ab":
        progress(f"features of test{side.upper()}")
        real[side] = metrics.features(photos[side], extractor=extractor)
    found = {}
    for direction in model.directions:
        source, target = direction[0], direction[-1]
        progress(f"translations {direction}")
        translated = metrics.features(translations(model, photos[source], direction), extractor=extractor)
        about = f"test{target.upper()}"
        result = metrics.score(translated, real[target], metrics=("fid", "kid"))
        untouched = metrics.score(real[source], real[target], metrics=("fid", "kid"))
        others = evenly(metrics.open_images(plan.data / f"train{target.upper()}"), result["a"]["n"])
        floor = metrics.score(metrics.features(others, extractor=extractor), real[target], metrics=("fid", "kid"))
        for name in ("fid", "kid"):
            found[f"{name}_{direction}"] = entry(result, name, about)
            found[f"{name}_{direction}_untouched"] = entry(untouched, name, about)
            found[f"{name}_{direction}_real"] = entry(floor, name, about)
        found |= _ruled(model, plan, direction, progress)
    return found


def test_photos(plan: TranslatorPlan, side: str) -> metrics.Images:
    """The photos of a domain, "a" or "b", that a translator is measured with."""
    return metrics.open_images(plan.data / f"test{side.upper()}")


def outlines_of(plan: TranslatorPlan, side: str) -> list[Pixels] | None:
    """The outlines of what the test photos of a domain show, where there are any."""
    if plan.outlines is None:
        return None
    folder = f"test{side.upper()}"
    return rulers.read_outlines(plan.outlines / folder, filesets.open_files(plan.data / folder).images)


def _ruled(model: Translator, plan: TranslatorPlan, direction: str, progress: Progress) -> dict[str, Any]:
    """The rulers of one direction: name -> entry."""
    progress(f"rulers {direction}")
    source, target = direction[0], direction[-1]
    photos = [loader() for loader in test_photos(plan, source).loaders()]
    translated = [translate(model, photo[None], direction)[0] for photo in photos]
    found = {
        f"structure_{direction}": mean_over_photos(rulers.structure(photos, translated), "correlation of edges", -1.0)
    }
    outlines = outlines_of(plan, source)
    if outlines is not None:
        moved = rulers.movement(photos, translated, outlines)
        found[f"background_{direction}"] = mean_over_photos(moved.outside, "levels of 255, outside of the outlines")
        worst = float(moved.outside.max())
        found[f"background_{direction}_worst"] = found[f"background_{direction}"] | {"value": worst, "interval": None}
        found[f"foreground_{direction}"] = mean_over_photos(moved.inside, "levels of 255, inside of the outlines")
    if plan.pairs:
        found |= likeness.entries(photos, translated, likeness.read_pairs(plan.data)[target], direction)
    domain = dict(zip("ab", model.domains, strict=True))[target]
    if domain in rulers.IMAGENET:
        wanted = [loader() for loader in test_photos(plan, target).loaders()]
        for kind, shown in (("", translated), ("_untouched", photos), ("_real", wanted)):
            ranks = rulers.ranks(shown, domain)
            for top in (1, 5):
                protocol = f"share whose top {top} of ImageNet has the {domain}, by EfficientNet-Lite2"
                found[f"recognised_top{top}_{direction}{kind}"] = mean_over_photos(ranks < top, protocol)
    return found


def split_of(run: SamplerRun, split: Split) -> metrics.Images:
    """A split of a run's data set, every image as the run reads it; read when its images are first asked for."""

    data = run.data

    @cache
    def pixels() -> Pixels:
        keep = Keep(packed=data.packed)
        return load_images(data.data, data.image_size, data.channels, keep=keep, split=split).pixels.numpy()

    def image(index: int) -> Pixels:
        return pixels()[index].repeat(3 // data.channels, axis=2)

    name = f"{Path(data.data).name} {split}"
    return metrics.Images(name, None, lambda: (partial(image, index) for index in range(len(pixels()))))


def evenly(images: metrics.Images, count: int) -> metrics.Images:
    """`count` images of a set, evenly spaced over all of it, so that every class is among them; at most all."""

    def chosen() -> Iterator[Callable[[], Pixels]]:
        loaders = list(images.loaders())
        return (loaders[index] for index in spread(min(count, len(loaders)), len(loaders)).tolist())

    return metrics.Images(images.name, None, chosen)


def reconstructions(model: Autoencoder, images: metrics.Images) -> Iterator[Pixels]:
    """Every image drawn again from its code: uint8 [1, h, w, c] each."""
    for loader in images.loaders():
        yield again(model, loader()[None])


def again(model: Autoencoder, pixels: Pixels) -> Pixels:
    """uint8 [n, h, w, 3] of the model's size -> the same images drawn again from their codes, uint8 [n, h, w, c]."""
    return to_uint8(model.decode(model.encode(to_float(pixels[..., : model.channels].copy()))))


def least_like(model: Autoencoder, pixels: Pixels, worst: int) -> list[int]:
    """Indices of the images that their codes miss most (mean absolute difference of pixels), the worst first."""
    missed = np.concatenate(
        [
            np.abs(again(model, few).astype(np.int16) - few[..., : model.channels]).mean(axis=(1, 2, 3))
            for few in np.split(pixels, range(256, len(pixels), 256))
        ]
    )
    return [int(index) for index in np.argsort(missed)[::-1][:worst]]


def translations(model: Translator, photos: metrics.Images, direction: str) -> Iterator[Pixels]:
    """Every photo translated at its own size, as the service would: uint8 [1, h, w, 3] each."""
    for loader in photos.loaders():
        yield translate(model, loader()[None], direction)


def translate(model: Translator, pixels: Pixels, direction: str) -> Pixels:
    """uint8 [n, h, w, 3] -> the same of the other domain; sides must be multiples of the stride."""
    way: Direction = "a_to_b" if direction == "a_to_b" else "b_to_a"
    return to_uint8(model(to_float(pixels.copy()), way))  # decoded photos are read-only, which torch warns of


def least_real(
    checkpoint: Path, unseen: metrics.Images, count: int, worst: int, extractor: metrics.Extractor | None = None
) -> list[int]:
    """Seeds of the samples farthest from any real image, the farthest first: what the model does badly.

    Farthest is by Inception features, of `count` samples from seed 0, to the nearest of the `unseen`.
    """
    sources = (Samples(checkpoint, count), evenly(unseen, count))
    found = [metrics.features(source, extractor=extractor).features for source in sources]
    fakes, real = (torch.from_numpy(features) for features in found if features is not None)
    nearest = torch.cdist(fakes, real).min(dim=1).values
    return [int(index) for index in nearest.argsort(descending=True)[:worst]]


def least_consistent(model: Translator, photos: Pixels, direction: str, worst: int) -> list[int]:
    """Indices of the photos that change most on a round trip (mean absolute difference), the worst first."""
    back = "b_to_a" if direction == "a_to_b" else "a_to_b"
    if back not in model.directions:
        return list(range(min(worst, len(photos))))
    lost = []
    for photo in photos:
        round_trip = translate(model, translate(model, photo[None], direction), back)[0]
        lost.append(np.abs(round_trip.astype(np.int16) - photo).mean())
    return [int(index) for index in np.argsort(lost)[::-1][:worst]]


def parameters(model: Model) -> list[int]:
    """Weights of each network."""
    return [sum(parameter.numel() for parameter in part.parameters()) for part in model.parts.values()]


def entry(result: dict[str, Any], name: str, reference: str) -> dict[str, Any]:
    """What a checkpoint's metrics keep of a metric of `metrics.score`; `reference` is what to call the second set."""
    kept = {key: result[name][key] for key in ("value", "interval", "reliable", "verdict") if key in result[name]}
    return kept | {
        "images": result["a"]["n"],
        "reference": reference,
        "reference_images": result["b"]["n"],
        "protocol": result["protocol"],
        "extractor": result["extractor"],
        "precision": result["a"]["precision"],
    }

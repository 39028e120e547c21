"""How well a translator changes one thing and leaves the rest: measures that FID and KID have no eye for.

    background    how far pixels move outside of the thing, in levels of 255; and inside, where they should
    structure     how much of the photo's edges is left
    recognised    how often a classifier that training never saw sees the thing that was asked for

Outlines of the things come from `python -m training outlines`; without them there is no background to speak of.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, relu6

import metrics
from models import InputError, to_float
from models.images import Pixels
from training.networks.backbone_weights import LITE2, backbone, classifier

IMAGENET = {"horse": 339, "zebra": 340}  # the class of a domain; a horse is a sorrel there
OUTSIDE, INSIDE = 25, 128  # levels of an outline, below and from which a pixel is neither thing nor rest
LEAST = 64  # pixels of a thing, below which the outline has found none
RESAMPLES = 1_000  # behind the intervals of means over photos
SIDE = 260  # pixels that EfficientNet-Lite2 was trained at

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Movement:
    """Mean absolute difference of photo and translation, in levels of 255: one value for each photo with an outline.

    photos: their indices, in order.
    """

    photos: tuple[int, ...]
    outside: Values
    inside: Values


def movement(photos: Sequence[Pixels], translations: Sequence[Pixels], outlines: Sequence[Pixels]) -> Movement:
    """Args:
    photos, translations: uint8 [h, w, 3] each.
    outlines: uint8 [h, w] each, 255 where the thing is.
    """
    found, outside, inside = [], [], []
    for index, (photo, translation, outline) in enumerate(zip(photos, translations, outlines, strict=True)):
        rest, thing = outline < OUTSIDE, outline >= INSIDE
        if thing.sum() < LEAST or not rest.any():
            continue
        moved = np.abs(photo.astype(np.int16) - translation).mean(axis=2)
        found.append(index)
        outside.append(moved[rest].mean())
        inside.append(moved[thing].mean())
    return Movement(tuple(found), np.array(outside), np.array(inside))


def structure(photos: Sequence[Pixels], translations: Sequence[Pixels]) -> Values:
    """The correlation of the edges (the luminance's gradient) of photo and translation, one for each photo."""
    return np.array([_alike(_edges(one), _edges(other)) for one, other in zip(photos, translations, strict=True)])


def mean_over_photos(values: npt.NDArray[Any], protocol: str, least: float = 0.0) -> dict[str, Any]:
    """An entry of a checkpoint's metrics: the mean, with the interval that other photos would move it in.

    Args:
        values: one for each photo.
        least: below which no mean can be.
    """
    counts = metrics.resample_counts(len(values), RESAMPLES, np.random.default_rng(0))
    return {
        "value": float(values.mean()),
        "interval": metrics.interval_of_mean(values, counts, least=least),
        "images": len(values),
        "reference": "",
        "reference_images": None,
        "protocol": protocol,
    }


def luminance(photo: Pixels) -> Values:
    """uint8 [h, w, 3] -> [h, w] in [0, 255], by the weights of ITU-R 601."""
    return np.asarray(Image.fromarray(photo).convert("L"), np.float64)


def _edges(photo: Pixels) -> Values:
    return np.hypot(*np.gradient(luminance(photo)))


def _alike(one: Values, other: Values) -> float:
    """Pearson's correlation; 0 where either has no edge."""
    apart = one - one.mean(), other - other.mean()
    size = np.sqrt((apart[0] ** 2).sum() * (apart[1] ** 2).sum())
    return float((apart[0] * apart[1]).sum() / size) if size else 0.0


def ranks(photos: Sequence[Pixels], domain: str) -> npt.NDArray[np.int64]:
    """The place of a domain's class among ImageNet's 1,000, from 0, by EfficientNet-Lite2; one for each photo.

    Raises:
        InputError: no class is known for the domain.  WeightsUnavailable.
    """
    if domain not in IMAGENET:
        raise InputError(f"No class of ImageNet is known for {domain!r}: those are {', '.join(IMAGENET)}.")
    found = []
    for photo in photos:
        (logits,) = _judge()(to_float(photo[None].copy()))
        found.append(int((logits > logits[IMAGENET[domain]]).sum()))
    return np.array(found)


class Judge(nn.Module):
    """EfficientNet-Lite2: photos [n, 3, h, w] in [-1, 1] -> logits [n, 1000]; square ones, as it was trained."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.last = backbone(LITE2), classifier(LITE2)

    @torch.inference_mode()
    def forward(self, photos: Tensor) -> Tensor:
        photos = interpolate(photos, size=(SIDE, SIDE), mode="bicubic", antialias=True)
        maps = conv2d(self.backbone(photos)[-1], self.last.features, self.last.features_bias)
        return relu6(maps).mean(dim=(2, 3)) @ self.last.weight.T + self.last.bias


@cache
def _judge() -> Judge:
    return Judge()


def read_outlines(folder: Path, names: Sequence[str]) -> list[Pixels]:
    """The outlines of photos by their names, uint8 [h, w] each; raises InputError where one is missing."""
    return list(_outlines(folder, names))


def _outlines(folder: Path, names: Sequence[str]) -> Iterator[Pixels]:
    for name in names:
        path = folder / f"{Path(name).stem}.png"
        if not path.is_file():
            raise InputError(f"There is no outline {path}: `python -m training outlines` makes them.", where="outlines")
        with Image.open(path) as image:
            yield np.asarray(image.convert("L"))

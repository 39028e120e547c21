"""How near translations come to the true pictures, of data whose test pictures are pairs.

    truth_l1      mean absolute difference of pixels, in levels of 255; 0 is best
    truth_ssim    structural similarity (SSIM); 1 is best
    truth_edges   correlation of the edges, as `structure` in `rulers.py`; 1 is best

Each stands beside what the untouched photo scores, and beside the gain: how much nearer the translation comes than
"did nothing", pair by pair. Pairs differ by much more than the gain does, so its interval says what theirs cannot.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

import metrics
from models import InputError, filesets, legible
from models.images import Pixels
from training.shipping.rulers import Values, luminance, mean_over_photos, structure

RADIUS, DEVIATION = 5, 1.5  # pixels of SSIM's window, which is 11 x 11
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # keep its quotients finite where a window is black or flat


def read_pairs(data: Path) -> dict[str, list[Pixels]]:
    """The pictures of testA, "a", and of testB, "b", in the order of their names: uint8 [h, w, 3] each.

    Raises:
        InputError: a picture has no counterpart of its name and size.  NotFoundError: a folder is missing.
    """
    folders = [data / "testA", data / "testB"]
    names = [filesets.open_files(folder).images for folder in folders]
    if alone := sorted(set(names[0]) ^ set(names[1])):
        raise InputError(
            f"{legible(str(data))}: testA and testB must hold pairs, under the same names; "
            f"{len(alone)} pictures are in one of them alone, such as {legible(alone[0])}.",
            where="data",
        )
    pairs = [[loader() for loader in metrics.open_images(folder).loaders()] for folder in folders]
    for name, one, other in zip(names[0], *pairs, strict=True):
        if one.shape != other.shape:
            sizes = " and ".join(f"{picture.shape[1]} x {picture.shape[0]}" for picture in (one, other))
            raise InputError(f"The pair {legible(name)} of {legible(str(data))} has two sizes: {sizes}.", where="data")
    return dict(zip("ab", pairs, strict=True))


def entries(
    photos: Sequence[Pixels], translations: Sequence[Pixels], truth: Sequence[Pixels], direction: str
) -> dict[str, dict[str, Any]]:
    """The entries of a checkpoint's metrics of one direction: name -> value, interval, counts, protocol.

    Args:
        photos, translations, truth: uint8 [h, w, 3] each, one size for all three of a pair.
    """
    measures = (
        ("l1", difference, "mean absolute difference of the true picture, levels of 255", 0.0),
        ("ssim", similarity, "SSIM with the true picture (Wang et al. 2004), of luminance", -1.0),
        ("edges", structure, "correlation of edges with the true picture's", -1.0),
    )
    found = {}
    against = {"reference": f"test{direction[-1].upper()}", "reference_images": len(truth)}
    for name, measure, protocol, least in measures:
        made, untouched = (measure(shown, truth) for shown in (translations, photos))
        gain = untouched - made if name == "l1" else made - untouched
        for kind, values, about, lowest in (
            ("", made, protocol, least),
            ("_untouched", untouched, protocol, least),
            ("_gain", gain, f"gain over the untouched: {protocol}", -math.inf),
        ):
            found[f"truth_{name}_{direction}{kind}"] = mean_over_photos(values, about, lowest) | against
    return found


def difference(some: Sequence[Pixels], others: Sequence[Pixels]) -> Values:
    """One value in [0, 255] for each pair of pictures; a pair's are uint8 [h, w, 3] of one size."""
    pairs = zip(some, others, strict=True)
    return np.array([np.abs(one.astype(np.int16) - other).mean() for one, other in pairs])


def similarity(some: Sequence[Pixels], others: Sequence[Pixels]) -> Values:
    """SSIM of the luminance, one value in [-1, 1] for each pair; pictures as those of `difference`.

    Wang, Bovik, Sheikh, Simoncelli 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity",
    equations 13 to 17: windows weighted by a Gaussian, K1 = 0.01 and K2 = 0.03, the mean over all windows that lie
    within the picture.

    Raises:
        InputError: a picture is smaller than the window.
    """
    return np.array([_ssim(luminance(one), luminance(other)) for one, other in zip(some, others, strict=True)])


def _ssim(one: Values, other: Values) -> float:
    if min(one.shape) <= 2 * RADIUS:
        raise InputError(f"SSIM needs pictures of {2 * RADIUS + 1} pixels a side or more; one has {min(one.shape)}.")
    mean, mean_other = _weighted(one), _weighted(other)
    variance, variance_other = _weighted(one**2) - mean**2, _weighted(other**2) - mean_other**2
    covariance = _weighted(one * other) - mean * mean_other
    brightness = (2 * mean * mean_other + C1) / (mean**2 + mean_other**2 + C1)
    contrast = (2 * covariance + C2) / (variance + variance_other + C2)
    return float((brightness * contrast).mean())


def _weighted(values: Values) -> Values:
    """Each window's weighted mean."""
    within = slice(RADIUS, -RADIUS)
    averaged: Values = gaussian_filter(values, DEVIATION, radius=RADIUS)[within, within]
    return averaged

"""How an image of any size becomes the square that a network sees, 299 pixels for Inception. Two protocols, and they do
not mix.

Resizing changes FID by more than most papers' gains (Parmar, Zhang, Zhu, "On Aliased Resizing", CVPR 2022), so a
score means nothing without the name of its protocol.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from models import InputError
from models.images import Pixels


@dataclass(frozen=True)
class Protocol:
    """name: as results and statistics carry it.  prepare: uint8 [h, w, 3], side -> float32 [3, side, side] in [-1, 1].

    An image that has that side already is not resized by either.
    """

    name: str
    prepare: Callable[[Pixels, int], Tensor]


def _pytorch_fid(pixels: Pixels, side: int) -> Tensor:
    """[0, 1], torch's bilinear resize without antialias, 2x - 1: as the package pytorch-fid."""
    image = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float().div_(255)
    resized = F.interpolate(image, size=(side, side), mode="bilinear", align_corners=False, antialias=False)
    return resized[0].mul_(2).sub_(1)


def _clean_fid(pixels: Pixels, side: int) -> Tensor:
    """Pillow's bicubic resize with antialias, each channel in float, clipped; (x - 128) / 128: as clean-fid."""
    channels = [
        np.asarray(Image.fromarray(pixels[..., c].astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC))
        for c in range(3)
    ]
    return torch.from_numpy(np.stack(channels).clip(0, 255)).sub_(128).div_(128)


PROTOCOLS = {p.name: p for p in (Protocol("pytorch-fid", _pytorch_fid), Protocol("clean-fid", _clean_fid))}


def protocol_named(name: str) -> Protocol:
    """The protocol of that name; raises InputError for any other."""
    if name not in PROTOCOLS:
        raise InputError(f"Unknown protocol {name!r}: use {' or '.join(PROTOCOLS)}.", where="protocol")
    return PROTOCOLS[name]

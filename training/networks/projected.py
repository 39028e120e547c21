"""A discriminator that looks through the eyes of a classifier: Sauer et al. 2021, "Projected GANs Converge Faster".

A fixed network P, trained on ImageNet, maps an image to activations of four resolutions; fixed random convolutions mix
their channels and their resolutions, and one small discriminator D_l judges each mix. The game is their equation 3, the
sum over l of each D_l's own; here their mean, so that losses keep their size. The generator is any, and what it learns
is still data alone; but it needs some ten times fewer images, since D begins with knowing what things look like.

A fifth one judges the pixels, as Kumari et al. 2022 keep theirs beside such networks ("Ensembling Off-the-shelf Models
for GAN Training", equation 2): what P is blind to, the generator need not learn (docs/experiments.md has a spectrum).

What is learned so scores a better FID than it looks, since FID's Inception comes from ImageNet too (Kynkaanniemi et al.
2023, "The Role of ImageNet Classes in Frechet Inception Distance"): cards say which discriminator trained a model.
"""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.utils.parametrizations import spectral_norm

from models import InputError, initialize_as_dcgan
from training.networks.backbone import TAPS, EfficientNetLite

MOST = 4  # channels of the discriminators, as a multiple of the width


class ProjectedDiscriminator(nn.Module):
    """Images [n, 1 or 3, s, s] in [-1, 1] (and classes [n]) -> logits [n, m], positive for real.

    m is 5 (s' / 16 - 3)^2 with s' the side that the backbone sees: as many from each of the five discriminators (where
    s' is s times a power of two; otherwise the pixels' own has a few more or less).

    Args:
        backbone: the fixed network, shared by as many discriminators as there are.
        size: s.
        width: channels of the highest resolution's mix; 64 in the paper's code.
        side: s', a multiple of 32; 0: as the images are.
        classes: how many, for a conditional one (Miyato and Koyama 2018); 0 for none.
    """

    def __init__(
        self, backbone: EfficientNetLite, size: int, *, width: int = 64, side: int = 0, classes: int = 0
    ) -> None:
        super().__init__()
        self.side = side or size
        self.backbone = backbone
        self.mix = _Mix(width)
        most = width * MOST
        self.heads = nn.ModuleList(
            _Head([min(channels << down, most) for down in range(downs + 1)], classes)
            for channels, downs in zip(self.mix.channels, (3, 2, 1, 0), strict=True)
        )
        downs = max(1, round(math.log2(16 * size / self.side)))
        self.pixels = _Head([3, *(min(2 * width << down, most) for down in range(downs))], classes, images=True)
        initialize_as_dcgan(self)

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        images = images.expand(-1, 3, -1, -1)
        logits = [self.pixels(images, classes)]
        if images.shape[2] != self.side:
            images = interpolate(images, size=(self.side, self.side), mode="bilinear", align_corners=False)
        mixed = self.mix(self.backbone(images))
        logits += [head(maps, classes) for head, maps in zip(self.heads, mixed, strict=True)]
        return torch.cat(logits, dim=1)


class _Mix(nn.Module):
    """Random, fixed, linear mixes of channels and of scales, section 3.2: sides s / 4 to 32 -> s / 2 to 16."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = [width * factor for factor in (1, 2, 4, 8)]
        self.channels = [width, *(c // 2 for c in inner[1:])]
        self.across = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 1) for inputs, outputs in zip(TAPS.values(), inner, strict=True)
        )
        self.down = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 1) for inputs, outputs in zip(inner, self.channels, strict=True)
        )
        for layer in (*self.across, *self.down):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            nn.init.zeros_(layer.bias)
        self.requires_grad_(False)

    def forward(self, activations: list[Tensor]) -> list[Tensor]:
        mixed: list[Tensor] = []
        for activation, across, down in reversed(list(zip(activations, self.across, self.down, strict=True))):
            maps = across(activation)
            if mixed:
                maps = maps + mixed[0]
            # the 1 x 1 convolution commutes with the enlarging, and is cheaper before it
            mixed.insert(0, interpolate(down(maps), scale_factor=2, mode="bilinear", align_corners=False))
        return mixed


class _Head(nn.Module):
    """One of the discriminators: spectral norm and batch norm, as in the paper's code. [n, c, s', s'] -> [n, m].

    On images, no batch norm follows the first convolution: DCGAN's rule, and a wise one. Neighbouring pixels differ
    little, so it would enlarge their differences until they outweigh all else (docs/experiments.md).
    """

    def __init__(self, channels: list[int], classes: int, *, images: bool = False) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for number, (narrow, wide) in enumerate(itertools.pairwise(channels)):
            bare = images and number == 0
            blocks.append(spectral_norm(nn.Conv2d(narrow, wide, 4, 2, 1, bias=bare)))
            if not bare:
                blocks.append(nn.BatchNorm2d(wide))
            blocks.append(nn.LeakyReLU(0.2, inplace=True))
        self.blocks = nn.Sequential(*blocks)
        self.logits = spectral_norm(nn.Conv2d(channels[-1], 1, 4))
        self.classes = spectral_norm(nn.Conv2d(channels[-1], classes, 4)) if classes else None

    def forward(self, maps: Tensor, classes: Tensor | None) -> Tensor:
        maps = self.blocks(maps)
        logits = self.logits(maps)
        if self.classes is None:
            return logits.flatten(1)
        if classes is None:
            raise InputError("This discriminator is class-conditional: give a class for each image.", where="class")
        own = self.classes(maps)  # a class's own filter, which is the projection of its embedding on what it sees
        return (logits + own[torch.arange(len(own), device=own.device), classes][:, None]).flatten(1)

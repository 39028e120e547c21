"""The U-Net generator of pix2pix (Isola, Zhu, Zhou, Efros 2017, appendix 6.1.1), which CycleGAN's code offers too.

An encoder halves the side down to a bottleneck and a decoder doubles it again; each level's input goes past the levels
below it, beside what they make of it. Levels are nested and their layers stand with the indices of the authors' code,
so that their checkpoints map onto ours key by key.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from models.errors import check_choice, check_range
from models.faces import Translator
from models.networks.initial import initialize_as_dcgan
from models.networks.table import architecture

_DOUBLINGS = 3  # the width doubles this often from the outermost level inwards


@architecture("unet", Translator)
@dataclass(frozen=True)
class UNetConfig:
    """Everything that rebuilds a U-Net.

    Attributes:
        width: channels of the first layer (64 in the paper).
        levels: how often the side is halved: 8 for 256 px, 7 for 128 px.
        norm: "batch" (pix2pix) or "instance" (CycleGAN).
    """

    attends: ClassVar[bool] = False

    channels: int = 3
    width: int = 64
    levels: int = 8
    norm: Literal["batch", "instance"] = "batch"

    def __post_init__(self) -> None:
        check_choice("channels", self.channels, (1, 3))
        check_range("width", self.width, 1, 512)
        check_range("levels", self.levels, 5, 10)
        check_choice("norm", self.norm, ("batch", "instance"))

    @property
    def stride(self) -> int:
        """Sides must be multiples of this, in pixels: the bottleneck sees one pixel for each."""
        return 2**self.levels

    @property
    def minimum_size(self) -> int:
        """The least side, in pixels."""
        return self.stride

    def parts(self) -> dict[str, nn.Module]:
        """A generator for each direction, newly initialised."""
        return {direction: UNetGenerator(self) for direction in Translator.PARTS}


class UNetGenerator(nn.Module):
    """Images [n, c, h, w] in [-1, 1] -> images of the other domain, the same shape and range; sides in strides."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.model = _outermost(config)
        initialize_as_dcgan(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(images)


class Level(nn.Module):
    """Feature maps [n, c, h, w] -> leaky(maps) and beside them what this level and those inside make, [n, 2 c, h, w].

    The skip carries the maps after the leaky ReLU: the authors' one works in place.
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        first, *others = self.model
        made = maps = first(maps)
        for layer in others:
            made = layer(made)
        return torch.cat([maps, made], dim=1)


class Outermost(nn.Module):
    """The level that sees images and gives images, without a skip."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(images)


def _outermost(config: UNetConfig) -> Outermost:
    width = config.width
    return Outermost(
        nn.Conv2d(config.channels, width, 4, 2, 1, bias=config.norm == "instance"),
        _level(config, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, config.channels, 4, 2, 1),
        nn.Tanh(),
    )


def _level(config: UNetConfig, depth: int) -> Level:
    """The level at a depth (0 is the outermost) with all that lie inside it."""
    outer, inner = (config.width * 2 ** min(depth + one, _DOUBLINGS) for one in (-1, 0))
    bias = config.norm == "instance"  # batch norm has one of its own
    down = [nn.LeakyReLU(0.2), nn.Conv2d(outer, inner, 4, 2, 1, bias=bias)]
    if depth == config.levels - 1:
        return Level(*down, nn.ReLU(), nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=bias), _norm(config, outer))
    return Level(
        *down,
        _norm(config, inner),
        _level(config, depth + 1),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1, bias=bias),
        _norm(config, outer),
    )


def _norm(config: UNetConfig, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if config.norm == "batch" else nn.InstanceNorm2d(channels)

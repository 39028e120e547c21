"""SNGAN's ResNets: generator and discriminator (Miyato, Kataoka, Koyama, Yoshida 2018, appendix B.4).

Blocks are those of Gulrajani et al. 2017: two 3 x 3 convolutions beside a shortcut. In the generator they double the
side (nearest neighbours), with batch norm before each ReLU; in the discriminator they halve it (average pooling), every
layer has spectral norm, and what the last block gives is summed over all positions. Weights begin by Glorot and Bengio
2010, eq. 16, the blocks' 3 x 3 convolutions with a gain of sqrt 2, as in the authors' code.

The paper's three pairs: CIFAR-10, 32 px: width 256 against 128, `max_multiplier` 1. STL-10, 48 px, and ImageNet, 128
px: width 64 against 64, `max_multiplier` 16. Classes scale and shift what the generator's batch norms give, and reach
the discriminator by projection (Miyato and Koyama 2018).
"""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn.functional import interpolate, relu

from models.errors import check_choice, check_range
from models.faces import Generator
from models.networks.blocks import activations, doubling
from models.networks.classes import ClassScale, check_classes
from models.networks.residual import ResidualDown
from models.networks.spectral import put_spectral_norm
from models.networks.table import architecture, discriminator

# side of an image: where the generator begins; how many blocks of the discriminator halve the side, how many keep it
SIDES = {32: (4, 2, 2), 48: (6, 4, 1), 64: (4, 4, 1), 128: (4, 5, 1)}


def _check(config: "SNGANConfig | SNGANDiscriminatorConfig") -> None:
    check_choice("image_size", config.image_size, tuple(SIDES))
    check_choice("channels", config.channels, (1, 3))
    check_range("width", config.width, 1, 1024)
    check_range("max_multiplier", config.max_multiplier, 1, 64)
    check_range("classes", config.classes, 0, 10_000)


@architecture("sngan", Generator)
@dataclass(frozen=True)
class SNGANConfig:
    """Everything that rebuilds an SNGAN generator.

    Attributes:
        width: channels of the highest resolution; each lower one has twice as many.
        max_multiplier: the doubling stops at width x this; 1: all have the same.
        classes: 0 for an unconditional model.
    """

    image_size: int = 32
    channels: int = 3
    latent_size: int = 128
    width: int = 256
    max_multiplier: int = 1
    classes: int = 0

    def __post_init__(self) -> None:
        _check(self)
        check_range("latent_size", self.latent_size, 1, 4096)

    def parts(self) -> dict[str, nn.Module]:
        """The generator, newly initialised."""
        return {"generator": SNGANGenerator(self)}


@discriminator("sngan")
@dataclass(frozen=True)
class SNGANDiscriminatorConfig:
    """Everything that rebuilds an SNGAN discriminator.

    Attributes:
        width: channels of the highest resolution; each lower one has twice as many, up to width x `max_multiplier`.
        norm: "spectral", or "none" for a loss with a penalty of its own.
    """

    image_size: int = 32
    channels: int = 3
    width: int = 128
    max_multiplier: int = 1
    norm: Literal["spectral", "none"] = "spectral"
    classes: int = 0

    def __post_init__(self) -> None:
        _check(self)
        check_choice("norm", self.norm, ("spectral", "none"))

    def build(self) -> "SNGANDiscriminator":
        """The discriminator, newly initialised."""
        return SNGANDiscriminator(self)


class SNGANGenerator(nn.Module):
    """Latents [n, latent] (and classes, where conditional) -> images [n, c, s, s] in [-1, 1].

    Classes are int64 [n], or float [n, classes]: weights that mix them.
    """

    def __init__(self, config: SNGANConfig) -> None:
        super().__init__()
        self.config = config
        self.side = SIDES[config.image_size][0]
        levels = int(math.log2(config.image_size // self.side))
        widths = doubling(config.width, config.max_multiplier, levels + 1)[::-1]
        self.dense = _begun(nn.Linear(config.latent_size, widths[0] * self.side**2))
        self.blocks = nn.ModuleList(_Up(wide, narrow, config.classes) for wide, narrow in itertools.pairwise(widths))
        self.norm = nn.BatchNorm2d(widths[-1])
        self.image = _begun(nn.Conv2d(widths[-1], config.channels, 3, padding=1))

    def forward(self, latents: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        check_classes("generator", self.config.classes, classes)
        maps = self.dense(latents).unflatten(1, (-1, self.side, self.side))
        for block in self.blocks:
            maps = block(maps, classes)
        return torch.tanh(self.image(relu(self.norm(maps))))


class _Up(nn.Module):
    """A block of the generator: [n, in, s, s] -> [n, out, 2 s, 2 s]."""

    def __init__(self, inputs: int, outputs: int, classes: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)])
        self.scales = nn.ModuleList(ClassScale(classes, count) for count in (inputs, outputs) if classes)
        self.convs = nn.ModuleList(
            _begun(nn.Conv2d(count, outputs, 3, padding=1), math.sqrt(2)) for count in (inputs, outputs)
        )
        self.shortcut = _begun(nn.Conv2d(inputs, outputs, 1))

    def forward(self, maps: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        # a 1 x 1 convolution commutes with the enlarging, and is cheaper before it
        shortcut = interpolate(self.shortcut(maps), scale_factor=2.0, mode="nearest")
        maps = interpolate(self._active(0, maps, classes), scale_factor=2.0, mode="nearest")
        maps = self.convs[0](maps)
        return shortcut + self.convs[1](self._active(1, maps, classes))

    def _active(self, number: int, maps: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        maps = self.norms[number](maps)
        return relu(self.scales[number](maps, classes) if self.scales else maps)


class SNGANDiscriminator(nn.Module):
    """Images [n, c, s, s] in [-1, 1] (and classes [n]) -> logits [n], positive for real."""

    def __init__(self, config: SNGANDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        _, downs, keeps = SIDES[config.image_size]
        widths = doubling(config.width, config.max_multiplier, downs + keeps)
        blocks = [
            ResidualDown(inputs, inputs if number else outputs, outputs, first=number == 0, halves=number < downs)
            for number, (inputs, outputs) in enumerate(itertools.pairwise([config.channels, *widths]))
        ]
        self.blocks = nn.ModuleList(blocks)
        self.head = _begun(nn.Linear(widths[-1], 1))
        self.projection = _begun(nn.Embedding(config.classes, widths[-1])) if config.classes else None
        for block in blocks:
            for conv in block.convs:
                _begun(conv, math.sqrt(2))
            if isinstance(block.shortcut, nn.Conv2d):
                _begun(block.shortcut)
        if config.norm == "spectral":
            put_spectral_norm(self, embeddings=True)

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The activations after every block, highest resolution first."""
        return activations(self.blocks, images)

    def forward(self, images: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        check_classes("discriminator", self.config.classes, classes)
        pooled = relu(self.features(images)[-1]).sum(dim=(2, 3))
        logits = self.head(pooled).flatten()
        return logits if self.projection is None else logits + (self.projection(classes) * pooled).sum(dim=1)


def _begun(layer: nn.Module, gain: float = 1.0) -> nn.Module:
    """The layer with weights as they begin, and biases of 0."""
    nn.init.xavier_uniform_(layer.get_parameter("weight"), gain)
    bias = getattr(layer, "bias", None)
    if bias is not None:
        nn.init.zeros_(bias)
    return layer

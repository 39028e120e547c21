"""The fully connected GAN of the first paper (Goodfellow et al. 2014, section 5), for MNIST.

A ReLU generator with a sigmoid output, and a maxout discriminator (Goodfellow et al. 2013) with dropout. The sigmoid's
[0, 1] is mapped to [-1, 1] inside the generator, so that it stands behind the same face as every other one. Weights
begin by torch's own scheme.
"""

from dataclasses import dataclass

import torch
from torch import nn

from models.errors import InputError, check_choice, check_range
from models.faces import Generator
from models.networks.table import architecture, discriminator


def _check(config: "MLPConfig | MaxoutConfig") -> None:
    check_range("image_size", config.image_size, 1, 256)
    check_choice("channels", config.channels, (1, 3))
    check_range("hidden", config.hidden, 1, 8192)


@architecture("mlp", Generator)
@dataclass(frozen=True)
class MLPConfig:
    """Everything that rebuilds a fully connected generator; `hidden` units in each of two ReLU layers."""

    image_size: int = 28
    channels: int = 1
    latent_size: int = 100
    hidden: int = 1200

    def __post_init__(self) -> None:
        _check(self)
        check_range("latent_size", self.latent_size, 1, 4096)

    @property
    def classes(self) -> int:
        """Always 0: the first paper's GAN is unconditional."""
        return 0

    def parts(self) -> dict[str, nn.Module]:
        """The generator, newly initialised."""
        return {"generator": MLPGenerator(self)}


@discriminator("mlp")
@dataclass(frozen=True)
class MaxoutConfig:
    """Everything that rebuilds the maxout discriminator: two layers of `hidden` units, the best of `pieces` each."""

    image_size: int = 28
    channels: int = 1
    hidden: int = 240
    pieces: int = 5
    dropout: float = 0.3

    def __post_init__(self) -> None:
        _check(self)
        check_range("pieces", self.pieces, 2, 16)
        check_range("dropout", self.dropout, 0, 1, open_end=True)

    def build(self) -> "MaxoutDiscriminator":
        """The discriminator, newly initialised."""
        return MaxoutDiscriminator(self)


class MLPGenerator(nn.Module):
    """Latents [n, latent] -> images [n, c, s, s] in [-1, 1]."""

    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        self.config = config
        pixels = config.channels * config.image_size**2
        self.layers = nn.Sequential(
            nn.Linear(config.latent_size, config.hidden),
            nn.ReLU(inplace=True),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(inplace=True),
            nn.Linear(config.hidden, pixels),
            nn.Sigmoid(),
        )

    def forward(self, latents: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        if classes is not None:
            raise InputError("This generator has no classes.", where="class")
        shape = (-1, self.config.channels, self.config.image_size, self.config.image_size)
        return self.layers(latents).view(shape) * 2.0 - 1.0


class Maxout(nn.Module):
    """max over k of (x W_k + b_k) (Goodfellow et al. 2013, eq. 2): [n, inputs] -> [n, outputs]."""

    def __init__(self, inputs: int, outputs: int, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(inputs, outputs * pieces)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.linear(inputs).unflatten(1, (-1, self.pieces)).amax(dim=2)


class MaxoutDiscriminator(nn.Module):
    """Images [n, c, s, s] in [-1, 1] -> logits [n], positive for real."""

    def __init__(self, config: MaxoutConfig) -> None:
        super().__init__()
        self.config = config
        pixels = config.channels * config.image_size**2
        self.blocks = nn.ModuleList(
            [
                Maxout(pixels, config.hidden, config.pieces),
                Maxout(config.hidden, config.hidden, config.pieces),
            ]
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden, 1)

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The activations of both maxout layers, [n, hidden] each."""
        hidden = images.flatten(1)
        activations = []
        for block in self.blocks:
            hidden = self.dropout(block(hidden))
            activations.append(hidden)
        return activations

    def forward(self, images: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        if classes is not None:
            raise InputError("This discriminator has no classes.", where="class")
        return self.head(self.features(images)[-1]).flatten()

"""DCGAN: generator and discriminator (Radford, Metz, Chintala 2016, section 3), for 16 to 256 px.

The paper's rules hold: strided convolutions instead of pooling, batch norm but in the generator's last and the
discriminator's first layer, ReLU up and tanh out, leaky ReLU down. Kernels are 4 with stride 2: a multiple of the
stride, so that every output pixel is covered equally often and no checkerboard is built in (Odena 2016).

Class-conditional: the generator gets the class as a learned embedding beside the latent (Mirza and Osindero 2014,
eq. 2), or as a scale and a shift of its own after every batch norm (Dumoulin, Shlens, Kudlur 2017, eq. 5); the
discriminator by projection (Miyato and Koyama 2018, eq. 3).
"""

import itertools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from models.errors import check_choice, check_range
from models.faces import Generator
from models.networks.blocks import activations, doubling
from models.networks.classes import ClassScale, check_classes, looked_up
from models.networks.initial import initialize_as_dcgan
from models.networks.table import architecture, discriminator

Norm = Literal["batch", "layer", "spectral", "none"]
IMAGE_SIZES = (16, 32, 64, 128, 256)


def _check(config: "DCGANConfig | DCGANDiscriminatorConfig") -> None:
    check_choice("image_size", config.image_size, IMAGE_SIZES)
    check_choice("channels", config.channels, (1, 3))
    check_range("width", config.width, 1, 1024)
    check_range("max_multiplier", config.max_multiplier, 1, 64)
    check_range("classes", config.classes, 0, 10_000)


@architecture("dcgan", Generator)
@dataclass(frozen=True)
class DCGANConfig:
    """Everything that rebuilds a DCGAN generator.

    Attributes:
        width: channels of the highest-resolution feature map; each lower one has twice as many.
        max_multiplier: the doubling stops at width x this (8 in the paper's 64 px network).
        classes: 0 for an unconditional model.
        class_embedding: components of a class's embedding, concatenated to the latent; 0: there is none, and classes
            scale and shift what every batch norm gives.
        activation: "relu" (the paper), or "leaky_relu" with a slope of 0.2, which some other projects take.
    """

    image_size: int = 64
    channels: int = 3
    latent_size: int = 100
    width: int = 64
    max_multiplier: int = 8
    classes: int = 0
    class_embedding: int = 32
    activation: Literal["relu", "leaky_relu"] = "relu"

    def __post_init__(self) -> None:
        _check(self)
        check_range("latent_size", self.latent_size, 1, 4096)
        check_range("class_embedding", self.class_embedding, 0, 1024)
        check_choice("activation", self.activation, ("relu", "leaky_relu"))

    def parts(self) -> dict[str, nn.Module]:
        """The generator, newly initialised."""
        return {"generator": DCGANGenerator(self)}


@discriminator("dcgan")
@dataclass(frozen=True)
class DCGANDiscriminatorConfig:
    """Everything that rebuilds a DCGAN discriminator.

    Attributes:
        norm: "batch" (the paper), "spectral" (Miyato et al. 2018), "layer" (Gulrajani et al. 2017 recommend it under
            a gradient penalty, which batch norm would break by coupling the samples), or "none".
        refine: adds a 3 x 3 convolution at every resolution (Miyato et al. 2018, table 3): better, and slower.
        dropout: probability, on the features before the last layer.
    """

    image_size: int = 64
    channels: int = 3
    width: int = 64
    max_multiplier: int = 8
    norm: Norm = "batch"
    refine: bool = False
    dropout: float = 0.0
    classes: int = 0

    def __post_init__(self) -> None:
        _check(self)
        check_choice("norm", self.norm, ("batch", "layer", "spectral", "none"))
        check_range("dropout", self.dropout, 0, 1, open_end=True)

    def build(self) -> "DCGANDiscriminator":
        """The discriminator, newly initialised."""
        return DCGANDiscriminator(self)


def _feature_channels(config: DCGANConfig | DCGANDiscriminatorConfig) -> list[int]:
    """Channels of the feature maps from the image's side down to 4 x 4: width, 2 width, 4 width, ..."""
    levels = config.image_size.bit_length() - 3  # 16 -> 2, 32 -> 3, 64 -> 4
    return doubling(config.width, config.max_multiplier, levels)


class DCGANGenerator(nn.Module):
    """Latents [n, latent] (and classes, where conditional) -> images [n, c, s, s] in [-1, 1].

    Classes are int64 [n], or float [n, classes]: weights that mix the embeddings, for interpolation between classes.
    """

    def __init__(self, config: DCGANConfig) -> None:
        super().__init__()
        self.config = config
        channels = _feature_channels(config)[::-1]
        beside = config.class_embedding if config.classes else 0
        self.embedding = nn.Embedding(config.classes, beside) if beside else None
        inputs = config.latent_size + beside
        scaled = channels if config.classes and not beside else []
        self.scales = nn.ModuleList(ClassScale(config.classes, count) for count in scaled)
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(inputs, channels[0], 4, 1, 0, bias=False),  # [n, ., 1, 1] -> [n, ., 4, 4]
            nn.BatchNorm2d(channels[0]),
            _activation(config),
        ]
        for wide, narrow in itertools.pairwise(channels):
            layers += [
                nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False),  # doubles the side
                nn.BatchNorm2d(narrow),
                _activation(config),
            ]
        layers += [nn.ConvTranspose2d(channels[-1], config.channels, 4, 2, 1, bias=False), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        initialize_as_dcgan(self)

    def forward(self, latents: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        check_classes("generator", self.config.classes, classes)
        if classes is None:
            return self.layers(latents[:, :, None, None])
        if self.embedding is not None:
            latents = torch.cat([latents, looked_up(self.embedding, classes)], dim=1)
        maps = latents[:, :, None, None]
        for index, scale in enumerate(self.scales):  # between a batch norm and its ReLU
            maps = scale(self.layers[3 * index : 3 * index + 2](maps), classes)
            maps = self.layers[3 * index + 2](maps)
        return self.layers[3 * len(self.scales) :](maps)


class DCGANDiscriminator(nn.Module):
    """Images [n, c, s, s] in [-1, 1] (and classes [n]) -> logits [n], positive for real."""

    def __init__(self, config: DCGANDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        channels = _feature_channels(config)
        blocks = [nn.Sequential(_conv(config, config.channels, channels[0], 4, 2, 1), _leaky())]
        for narrow, wide in itertools.pairwise(channels):
            if config.refine:
                blocks.append(_block(config, narrow, narrow, 3, 1, 1))
            blocks.append(_block(config, narrow, wide, 4, 2, 1))
        self.blocks = nn.ModuleList(blocks)
        self.dropout = nn.Dropout(config.dropout)
        self.head = _conv(config, channels[-1], 1, 4, 1, 0)  # [n, ., 4, 4] -> [n, 1, 1, 1]
        self.projection: nn.Module | None = None
        if config.classes:
            embedding = nn.Embedding(config.classes, channels[-1])
            # As small as the convolutions' weights start. torch's N(0, 1) would drown the logit; under spectral norm,
            # which takes the scale away, it would learn 50 times slower than they do, since Adam's steps are as long.
            nn.init.normal_(embedding.weight, 0.0, 0.02)
            self.projection = spectral_norm(embedding) if config.norm == "spectral" else embedding
        initialize_as_dcgan(self)

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The activations after every block, highest resolution first; the last is [n, ., 4, 4]."""
        return activations(self.blocks, images)

    def forward(self, images: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        check_classes("discriminator", self.config.classes, classes)
        features = self.dropout(self.features(images)[-1])
        logits = self.head(features).flatten()
        if self.projection is None:
            return logits
        # a spectral norm of 1 lets the head sum the 16 positions at a quarter each; the class gets no louder a say
        pooled = features.sum(dim=(2, 3)) / 4
        return logits + (self.projection(classes) * pooled).sum(dim=1)


def _activation(config: DCGANConfig) -> nn.Module:
    return nn.ReLU(inplace=True) if config.activation == "relu" else _leaky()


def _leaky() -> nn.Module:
    return nn.LeakyReLU(0.2, inplace=True)


def _conv(
    config: DCGANDiscriminatorConfig, inputs: int, outputs: int, kernel: int, stride: int, padding: int
) -> nn.Module:
    followed_by_norm = config.norm == "batch" and inputs != config.channels and outputs != 1
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=not followed_by_norm)
    return spectral_norm(conv) if config.norm == "spectral" else conv


def _block(
    config: DCGANDiscriminatorConfig, inputs: int, outputs: int, kernel: int, stride: int, padding: int
) -> nn.Sequential:
    conv = _conv(config, inputs, outputs, kernel, stride, padding)
    norm: list[nn.Module] = []
    if config.norm == "batch":
        norm = [nn.BatchNorm2d(outputs)]
    elif config.norm == "layer":
        norm = [nn.GroupNorm(1, outputs)]
    return nn.Sequential(conv, *norm, _leaky())

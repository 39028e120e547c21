"""The networks of the Adversarial Latent Autoencoder (Pidhorskyi, Adjeroh, Doretto 2020): F, G, E and D.

    latent z --F--> code w --G--> image --E--> code w --D--> logit

D after E is the discriminator of a GAN, G after F its generator; E after G is the identity on codes. Two choices of
networks: the fully connected ones of the paper's MNIST experiment, for which an image is a row of numbers, and
convolutional ones, whose G is DCGAN's generator with w in place of z, and whose E is the trunk of DCGAN's discriminator
without a norm, since the game's penalty needs each image's gradient alone. All weights begin as He et al. 2015 have it,
to which equalised learning rates belong (`training.games.optimize.equalized`); those of the fully connected encoder's
first layer may be blurred (`smooth`).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import nn

from models.errors import InputError, check_choice, check_range
from models.faces import Autoencoder
from models.networks.blocks import activations
from models.networks.dcgan import DCGANConfig, DCGANDiscriminator, DCGANDiscriminatorConfig, DCGANGenerator
from models.networks.initial import initialize_as_he, smooth_filters
from models.networks.table import architecture

CONVOLUTIONAL_SIZES = (32, 64, 128)


def _check_latents(config: "DenseALAEConfig | ConvALAEConfig") -> None:
    check_range("latent_size", config.latent_size, 1, 4096)
    check_range("code_size", config.code_size, 1, 4096)
    check_range("mapping_layers", config.mapping_layers, 1, 32)


@architecture("alae-mlp", Autoencoder)
@dataclass(frozen=True)
class DenseALAEConfig:
    """Everything that rebuilds a fully connected ALAE; the defaults are the paper's for MNIST.

    Attributes:
        latent_size, code_size: components of z and of w.
        mapping_layers: of F, each as wide as a code.
        hidden: units in each of the two hidden layers of G and of E.
        smooth: deviation in pixels of the Gaussian that blurs the weights that E's first layer begins with; 0: none.
    """

    image_size: int = 28
    channels: int = 1
    latent_size: int = 50
    code_size: int = 50
    mapping_layers: int = 6
    hidden: int = 1024
    smooth: float = 0.0

    def __post_init__(self) -> None:
        check_range("image_size", self.image_size, 1, 256)
        check_choice("channels", self.channels, (1, 3))
        check_range("hidden", self.hidden, 1, 8192)
        check_range("smooth", self.smooth, 0, 8)
        _check_latents(self)

    @property
    def classes(self) -> int:
        """Always 0: ALAE is unconditional."""
        return 0

    def parts(self) -> dict[str, nn.Module]:
        """F, G and E, newly initialised."""
        return {"mapping": CodeMapping(self), "generator": DenseGenerator(self), "encoder": DenseEncoder(self)}


@architecture("alae-dcgan", Autoencoder)
@dataclass(frozen=True)
class ConvALAEConfig:
    """Everything that rebuilds a convolutional ALAE.

    Attributes:
        latent_size, code_size: components of z and of w.
        mapping_layers: of F, each as wide as a code.
        width, max_multiplier: of G, as `DCGANConfig` has them.
        encoder_width: of E, as the width of `DCGANDiscriminatorConfig`.
    """

    image_size: int = 64
    channels: int = 3
    latent_size: int = 128
    code_size: int = 128
    mapping_layers: int = 6
    width: int = 64
    encoder_width: int = 64
    max_multiplier: int = 8

    def __post_init__(self) -> None:
        check_choice("image_size", self.image_size, CONVOLUTIONAL_SIZES)
        check_range("encoder_width", self.encoder_width, 1, 1024)
        _check_latents(self)
        _generator_of(self)  # checks the rest

    @property
    def classes(self) -> int:
        """Always 0: ALAE is unconditional."""
        return 0

    def parts(self) -> dict[str, nn.Module]:
        """F, G and E, newly initialised."""
        generator = DCGANGenerator(_generator_of(self))
        initialize_as_he(generator)
        return {"mapping": CodeMapping(self), "generator": generator, "encoder": ConvEncoder(self)}


def _generator_of(config: ConvALAEConfig) -> DCGANConfig:
    """DCGAN's generator, with codes in the place of latents."""
    return DCGANConfig(
        image_size=config.image_size,
        channels=config.channels,
        latent_size=config.code_size,
        width=config.width,
        max_multiplier=config.max_multiplier,
    )


@dataclass(frozen=True)
class CodeDiscriminatorConfig:
    """Everything that rebuilds D: a logit of a code, by `layers` layers of the code's width."""

    code_size: int = 50
    layers: int = 3

    def __post_init__(self) -> None:
        check_range("code_size", self.code_size, 1, 4096)
        check_range("layers", self.layers, 1, 32)

    def build(self) -> "CodeDiscriminator":
        """The discriminator, newly initialised."""
        return CodeDiscriminator(self)


class CodeMapping(nn.Module):
    """F: latents [n, latent] -> codes [n, code]. Latents are normalised to a mean square of 1, as in StyleGAN."""

    def __init__(self, config: DenseALAEConfig | ConvALAEConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.latent_size] + [config.code_size] * config.mapping_layers
        self.layers = _dense(widths)
        initialize_as_he(self)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        mean_square = latents.square().mean(dim=1, keepdim=True)
        return self.layers(latents * torch.rsqrt(mean_square + 1e-8))


class DenseGenerator(nn.Module):
    """G: codes [n, code] -> images [n, c, s, s] in [-1, 1]."""

    def __init__(self, config: DenseALAEConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = _dense([config.code_size, config.hidden, config.hidden])
        self.head = nn.Linear(config.hidden, config.channels * config.image_size**2)
        initialize_as_he(self)

    def forward(self, codes: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        if classes is not None:
            raise InputError("This generator has no classes.", where="class")
        shape = (-1, self.config.channels, self.config.image_size, self.config.image_size)
        return torch.tanh(self.head(self.layers(codes))).view(shape)


class DenseEncoder(nn.Module):
    """E: images [n, c, s, s] in [-1, 1] -> codes [n, code]; the mirror of `DenseGenerator`.

    A leaky ReLU ends it, as one ends F: both give codes of one range.
    """

    def __init__(self, config: DenseALAEConfig) -> None:
        super().__init__()
        self.config = config
        pixels = config.channels * config.image_size**2
        self.blocks = nn.ModuleList([_dense([pixels, config.hidden]), _dense([config.hidden, config.hidden])])
        self.head = _dense([config.hidden, config.code_size])
        initialize_as_he(self)
        if config.smooth:
            first = cast(nn.Linear, cast(nn.Sequential, self.blocks[0])[0])
            smooth_filters(first, (config.channels, config.image_size, config.image_size), config.smooth)

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The activations of both hidden layers, [n, hidden] each."""
        return activations(self.blocks, images.flatten(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images)[-1])


class ConvEncoder(nn.Module):
    """E: images [n, c, s, s] in [-1, 1] -> codes [n, code], by the blocks of DCGAN's discriminator.

    A leaky ReLU ends it, as one ends F: both give codes of one range.
    """

    def __init__(self, config: ConvALAEConfig) -> None:
        super().__init__()
        self.config = config
        trunk = DCGANDiscriminatorConfig(
            image_size=config.image_size,
            channels=config.channels,
            width=config.encoder_width,
            max_multiplier=config.max_multiplier,
            norm="none",
        )
        self.blocks = DCGANDiscriminator(trunk).blocks
        channels = config.encoder_width * min(2 ** (len(self.blocks) - 1), config.max_multiplier)
        self.head = nn.Sequential(nn.Flatten(), *_dense([channels * 4 * 4, config.code_size]))
        initialize_as_he(self)

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The activations after every block, highest resolution first; the last is [n, ., 4, 4]."""
        return activations(self.blocks, images)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images)[-1])


class CodeDiscriminator(nn.Module):
    """D: codes [n, code] -> logits [n], positive for codes of real images."""

    def __init__(self, config: CodeDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = _dense([config.code_size] * config.layers)
        self.head = nn.Linear(config.code_size, 1)
        initialize_as_he(self)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(codes)).flatten()


def _dense(widths: list[int]) -> nn.Sequential:
    """Linear layers from width to width, a leaky ReLU after each."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers)

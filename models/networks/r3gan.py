"""R3GAN's networks: generator and discriminator (Huang, Gokaslan, Kuleshov, Tompkin 2024, section 3), 32 to 128 px.

Both are a ResNet without any norm, the discriminator the generator's mirror. At each resolution stand two inverted
bottlenecks: a 1 x 1 convolution to twice the channels, a grouped 3 x 3 one, a 1 x 1 one back, with a bias and a leaky
ReLU (0.2) after the first two. Between resolutions maps are resampled bilinearly, and a 1 x 1 convolution changes their
channels where they change. A learned basis of 4 x 4 maps, weighted by a linear layer of the latent, begins the
generator; one ends the discriminator.

Weights begin as in Fixup (Zhang, Dauphin, Ma 2019, section 3): a block's last convolution at 0, so that it begins as
the identity, and its others as He et al. 2015 have them, times L^(-1/4) in a network of L blocks.

The paper's run of CIFAR-10, 32 px: width 768 on both sides, `max_multiplier` 1, a latent of 64. Of FFHQ, 64 px: width
384, `max_multiplier` 2. Classes reach the generator as an embedding beside the latent, and the discriminator by the
inner product of theirs with its last layer (Miyato and Koyama 2018).
"""

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu

from models.errors import check_choice, check_range
from models.faces import Generator
from models.networks.blocks import activations, doubling
from models.networks.classes import check_classes, looked_up
from models.networks.table import architecture, discriminator

BLOCKS = 2  # at each resolution
EXPANSION = 2  # channels within a block, to those around it
GROUP = 16  # channels of a group, where a block has so many
FIRST = 4  # pixels of a side where the generator begins
SLOPE = 0.2


def _check(config: "R3GANConfig | R3GANDiscriminatorConfig") -> None:
    check_choice("image_size", config.image_size, (32, 64, 128))
    check_choice("channels", config.channels, (1, 3))
    check_range("width", config.width, 1, 2048)
    check_range("max_multiplier", config.max_multiplier, 1, 64)
    check_range("classes", config.classes, 0, 10_000)


@architecture("r3gan", Generator)
@dataclass(frozen=True)
class R3GANConfig:
    """Everything that rebuilds an R3GAN generator.

    Attributes:
        width: channels of the highest resolution; each lower one has twice as many.
        max_multiplier: the doubling stops at width x this; 1: all have the same.
        classes: 0 for an unconditional model.
        class_embedding: components of a class's embedding; the paper's are as many as the latent's.
    """

    image_size: int = 32
    channels: int = 3
    latent_size: int = 64
    width: int = 768
    max_multiplier: int = 1
    classes: int = 0
    class_embedding: int = 64

    def __post_init__(self) -> None:
        _check(self)
        check_range("latent_size", self.latent_size, 1, 4096)
        check_range("class_embedding", self.class_embedding, 1, 4096)

    def parts(self) -> dict[str, nn.Module]:
        """The generator, newly initialised."""
        return {"generator": R3GANGenerator(self)}


@discriminator("r3gan")
@dataclass(frozen=True)
class R3GANDiscriminatorConfig:
    """Everything that rebuilds an R3GAN discriminator; `width` and `max_multiplier` as the generator's."""

    image_size: int = 32
    channels: int = 3
    width: int = 768
    max_multiplier: int = 1
    classes: int = 0

    def __post_init__(self) -> None:
        _check(self)

    def build(self) -> "R3GANDiscriminator":
        """The discriminator, newly initialised."""
        return R3GANDiscriminator(self)


class R3GANGenerator(nn.Module):
    """Latents [n, latent] (and classes, where conditional) -> images [n, c, s, s] in [-1, 1].

    Classes are int64 [n], or float [n, classes]: weights that mix them. In training, images are not bounded: of a
    pixel beyond the range, the discriminator would have nothing to say that brings it back.
    """

    def __init__(self, config: R3GANConfig) -> None:
        super().__init__()
        self.config = config
        widths = _widths(config)[::-1]
        count = BLOCKS * len(widths)
        self.embedding = nn.Embedding(config.classes, config.class_embedding) if config.classes else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, 0.0, config.classes**-0.5)
        beside = config.class_embedding if config.classes else 0
        self.dense = _linear(nn.Linear(config.latent_size + beside, widths[0], bias=False))
        self.basis = Basis(widths[0])
        self.stages = nn.Sequential(nn.Sequential(*_residuals(widths[0], count)))
        for wide, narrow in itertools.pairwise(widths):
            doubled = (*_projection(wide, narrow), nn.Upsample(scale_factor=2), Blur())
            self.stages.append(nn.Sequential(*doubled, *_residuals(narrow, count)))
        self.image = _linear(nn.Conv2d(widths[-1], config.channels, 1, bias=False))

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        check_classes("generator", self.config.classes, classes)
        if self.embedding is not None and classes is not None:
            latents = torch.cat([latents, looked_up(self.embedding, classes)], dim=1)
        images: Tensor = self.image(self.stages(self.basis(self.dense(latents))))
        return images if self.training else images.clamp(-1, 1)


class R3GANDiscriminator(nn.Module):
    """Images [n, c, s, s] in [-1, 1] (and classes [n]) -> logits [n], positive for real."""

    def __init__(self, config: R3GANDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = _widths(config)
        count, last = BLOCKS * len(widths), widths[-1]
        self.image = _linear(nn.Conv2d(config.channels, widths[0], 1, bias=False))
        self.stages = nn.ModuleList()
        for wide, narrow in itertools.pairwise(widths):
            halved = (Blur(), nn.AvgPool2d(2), *_projection(wide, narrow))
            self.stages.append(nn.Sequential(*_residuals(wide, count), *halved))
        self.stages.append(nn.Sequential(*_residuals(last, count)))
        self.basis = _linear(nn.Conv2d(last, last, FIRST, groups=last, bias=False))
        self.head = _linear(nn.Linear(last, last if config.classes else 1, bias=False))
        self.embedding = nn.Embedding(config.classes, last) if config.classes else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, 0.0, (config.classes * last) ** -0.5)

    def features(self, images: Tensor) -> list[Tensor]:
        """The activations of each resolution, highest first: what the next begins with; the last is [n, ., 4, 4]."""
        return activations(self.stages, self.image(images))

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        check_classes("discriminator", self.config.classes, classes)
        seen: Tensor = self.head(self.basis(self.features(images)[-1]).flatten(1))
        if self.embedding is None:
            return seen.flatten()
        return (seen * self.embedding(classes)).sum(dim=1)


class Residual(nn.Module):
    """An inverted bottleneck beside the identity: [n, c, s, s] -> the same.

    Args:
        blocks: how many there are in the network.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        inner = EXPANSION * channels
        self.widen = nn.Conv2d(channels, inner, 1)
        self.mix = nn.Conv2d(inner, inner, 3, padding=1, groups=inner // math.gcd(inner, GROUP))
        self.narrow = nn.Conv2d(inner, channels, 1, bias=False)
        nn.init.zeros_(self.narrow.weight)
        for layer in (self.widen, self.mix):
            nn.init.kaiming_normal_(layer.weight, SLOPE)
            with torch.no_grad():
                layer.weight.mul_(blocks**-0.25)
            nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, maps: Tensor) -> Tensor:
        inner = leaky_relu(self.mix(leaky_relu(self.widen(maps), SLOPE)), SLOPE)
        together: Tensor = maps + self.narrow(inner)
        return together


class Basis(nn.Module):
    """A learned map for each channel, as loud as the input says: [n, c] -> [n, c, 4, 4]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.maps = nn.Parameter(torch.randn(1, channels, FIRST, FIRST))

    def forward(self, weights: Tensor) -> Tensor:
        return self.maps * weights[:, :, None, None]


class Blur(nn.Module):
    """Maps [n, c, h, w] smoothed by [1, 2, 1] / 4 each way, with zeros beyond their edges.

    Nearest neighbours before it, or means of two by two pixels after it, make bilinear interpolation, whose kernel is
    [1, 3, 3, 1] = [1, 1] * [1, 2, 1]. On a CPU, one convolution with all of it takes ten times as long in bfloat16.
    """

    kernel: Tensor  # [1, 1, 3, 3]

    def __init__(self) -> None:
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", torch.outer(line, line)[None, None])

    def forward(self, maps: Tensor) -> Tensor:
        channels = maps.shape[1]
        return conv2d(maps, self.kernel.expand(channels, -1, -1, -1), padding=1, groups=channels)


def _widths(config: R3GANConfig | R3GANDiscriminatorConfig) -> list[int]:
    """Channels at each resolution, from the image's down to 4 px."""
    levels = int(math.log2(config.image_size // FIRST))
    return doubling(config.width, config.max_multiplier, levels + 1)


def _residuals(channels: int, blocks: int) -> list[nn.Module]:
    """The blocks of one resolution, in a network of so many."""
    return [Residual(channels, blocks) for _ in range(BLOCKS)]


def _projection(inputs: int, outputs: int) -> list[nn.Module]:
    """What changes the number of channels, where it changes."""
    return [] if inputs == outputs else [_linear(nn.Conv2d(inputs, outputs, 1, bias=False))]


def _linear(layer: nn.Linear | nn.Conv2d) -> nn.Module:
    """A layer that no activation follows, with weights N(0, 1 / sqrt(inputs)), which keep the scale of a signal."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    return layer

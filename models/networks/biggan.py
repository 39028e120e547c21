"""BigGAN: generator and discriminator (Brock, Donahue, Simonyan 2019, appendix B), for 32, 64 and 128 px.

The generator's blocks are SNGAN's, but what scales and shifts a batch norm is computed: by a layer of its own from the
class's embedding, which all norms share, and from a chunk of the latent, of which every block has its own (section
3.1). Self-attention may stand at one resolution in either network. Weights begin orthogonal (Saxe, McClelland, Ganguli
2014). Spectral norm in the discriminator is part of it; in the generator it is part of training only, which the
checkpoint's weights have taken in (`spectral.py`).

The paper's pair at 128 px: width 96, `max_multiplier` 16, `latent_size` 120, attention at 64. A class's weights mix
embeddings, so that between two classes there are pictures too.
"""

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear, relu

from models.errors import InputError, check_choice, check_range
from models.faces import Generator
from models.networks.blocks import activations, doubling
from models.networks.classes import check_classes, looked_up
from models.networks.initial import initialize_orthogonally
from models.networks.residual import ResidualDown
from models.networks.self_attention import SelfAttention
from models.networks.spectral import put_spectral_norm
from models.networks.table import architecture, discriminator

# side of an image: how many blocks of the discriminator halve the side, how many keep it
SIDES = {32: (2, 2), 64: (4, 1), 128: (5, 1)}
FIRST = 4  # pixels of a side where the generator begins


def _check(config: "BigGANConfig | BigGANDiscriminatorConfig") -> None:
    check_choice("image_size", config.image_size, tuple(SIDES))
    check_choice("channels", config.channels, (1, 3))
    check_range("width", config.width, 1, 1024)
    check_range("max_multiplier", config.max_multiplier, 1, 64)
    check_range("classes", config.classes, 0, 10_000)
    sides = (0, *(side for side in (8, 16, 32, 64) if side < config.image_size))
    check_choice("attention", config.attention, sides)


@architecture("biggan", Generator)
@dataclass(frozen=True)
class BigGANConfig:
    """Everything that rebuilds a BigGAN generator.

    Attributes:
        width: channels of the highest resolution; each lower one has twice as many.
        max_multiplier: the doubling stops at width x this; 1: all have the same.
        classes: 0 for an unconditional model, whose norms hear of the latent alone.
        class_embedding: components of a class's embedding.
        latent_chunks: the latent is split between the first layer and the blocks; False: the first layer takes it
            whole, and norms hear of the class alone.
        attention: side in pixels of the maps that self-attention works on; 0: there is none.
    """

    image_size: int = 128
    channels: int = 3
    latent_size: int = 120
    width: int = 96
    max_multiplier: int = 16
    classes: int = 0
    class_embedding: int = 128
    latent_chunks: bool = True
    attention: int = 0

    trained_norm: ClassVar[str] = "spectral"  # what its paper puts on the layers while they are trained

    def __post_init__(self) -> None:
        _check(self)
        check_range("latent_size", self.latent_size, 1, 4096)
        check_range("class_embedding", self.class_embedding, 1, 10_000)
        if not (self.classes or self.latent_chunks):
            raise InputError("latent_chunks is needed where there are no classes.", where="latent_chunks")
        if self.latent_size % self.chunks:
            raise InputError(
                f"latent_size must be a multiple of {self.chunks}, a chunk for the first layer and for each of the "
                f"{self.chunks - 1} blocks of {self.image_size} px, not {self.latent_size}.",
                where="latent_size",
            )

    @property
    def widths(self) -> list[int]:
        """Channels before the first block and after each."""
        levels = int(math.log2(self.image_size // FIRST))
        return doubling(self.width, self.max_multiplier, levels + 1)[::-1]

    @property
    def chunks(self) -> int:
        """Into how many equal parts a latent is split."""
        return len(self.widths) if self.latent_chunks else 1

    def parts(self) -> dict[str, nn.Module]:
        """The generator, newly initialised."""
        return {"generator": BigGANGenerator(self)}


@discriminator("biggan")
@dataclass(frozen=True)
class BigGANDiscriminatorConfig:
    """Everything that rebuilds a BigGAN discriminator.

    Attributes:
        width: channels of the highest resolution; each lower one has twice as many, up to width x `max_multiplier`.
        norm: "spectral", or "none" for a loss with a penalty of its own.
        attention: side in pixels of the maps that self-attention works on; 0: there is none.
    """

    image_size: int = 128
    channels: int = 3
    width: int = 96
    max_multiplier: int = 16
    norm: Literal["spectral", "none"] = "spectral"
    classes: int = 0
    attention: int = 0

    def __post_init__(self) -> None:
        _check(self)
        check_choice("norm", self.norm, ("spectral", "none"))

    def build(self) -> "BigGANDiscriminator":
        """The discriminator, newly initialised."""
        return BigGANDiscriminator(self)


class BigGANGenerator(nn.Module):
    """Latents [n, latent] (and classes, where conditional) -> images [n, c, s, s] in [-1, 1].

    Classes are int64 [n], or float [n, classes]: weights that mix their embeddings.
    """

    def __init__(self, config: BigGANConfig) -> None:
        super().__init__()
        self.config = config
        widths, chunk = config.widths, config.latent_size // config.chunks
        self.embedding = nn.Embedding(config.classes, config.class_embedding) if config.classes else None
        heard = (config.class_embedding if config.classes else 0) + (chunk if config.latent_chunks else 0)
        self.dense = nn.Linear(chunk, widths[0] * FIRST**2)
        self.blocks = nn.ModuleList(
            _Up(wide, narrow, heard, attends=config.attention == FIRST * 2 ** (number + 1))
            for number, (wide, narrow) in enumerate(itertools.pairwise(widths))
        )
        self.norm = nn.BatchNorm2d(widths[-1])
        self.image = nn.Conv2d(widths[-1], config.channels, 3, padding=1)
        initialize_orthogonally(self)

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        check_classes("generator", self.config.classes, classes)
        first, *others = latents.chunk(self.config.chunks, dim=1)
        embedded = [] if self.embedding is None or classes is None else [looked_up(self.embedding, classes)]
        heard = [torch.cat([*embedded, chunk], dim=1) for chunk in others] or embedded * len(self.blocks)
        maps = self.dense(first).unflatten(1, (-1, FIRST, FIRST))
        for block, condition in zip(self.blocks, heard, strict=True):
            maps = block(maps, condition)
        return torch.tanh(self.image(relu(self.norm(maps))))


class _Up(nn.Module):
    """A block of the generator: [n, in, s, s] and what its norms hear of [n, k] -> [n, out, 2 s, 2 s]."""

    def __init__(self, inputs: int, outputs: int, heard: int, *, attends: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleList(ComputedNorm(count, heard) for count in (inputs, outputs))
        self.convs = nn.ModuleList(nn.Conv2d(count, outputs, 3, padding=1) for count in (inputs, outputs))
        self.shortcut = nn.Conv2d(inputs, outputs, 1)
        self.attention = SelfAttention(outputs) if attends else nn.Identity()

    def forward(self, maps: Tensor, heard: Tensor) -> Tensor:
        # a 1 x 1 convolution commutes with the enlarging, and is cheaper before it
        shortcut = interpolate(self.shortcut(maps), scale_factor=2.0, mode="nearest")
        maps = interpolate(relu(self.norms[0](maps, heard)), scale_factor=2.0, mode="nearest")
        maps = relu(self.norms[1](self.convs[0](maps), heard))
        return self.attention(shortcut + self.convs[1](maps))


class ComputedNorm(nn.Module):
    """Maps [n, c, h, w] and what it hears of [n, k] -> (1 + gain) times batch norm of the maps, + shift.

    gain and shift [n, c] are linear in what is heard, without a bias (appendix B). Their weights stand here
    and not in layers of their own, as this is a norm to whoever looks for a generator's layers (`directions.py`).
    """

    def __init__(self, channels: int, heard: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain, self.shift = (nn.Parameter(torch.empty(channels, heard)) for _ in range(2))

    def forward(self, maps: Tensor, heard: Tensor) -> Tensor:
        gain, shift = (linear(heard, weight)[:, :, None, None] for weight in (self.gain, self.shift))
        return torch.addcmul(shift, 1 + gain, self.norm(maps))


class BigGANDiscriminator(nn.Module):
    """Images [n, c, s, s] in [-1, 1] (and classes [n]) -> logits [n], positive for real.

    SNGAN's, but as wide between a block's two convolutions as after them; classes by projection (Miyato and Koyama
    2018, eq. 3).
    """

    def __init__(self, config: BigGANDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        downs, keeps = SIDES[config.image_size]
        widths = doubling(config.width, config.max_multiplier, downs + keeps)
        blocks: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(itertools.pairwise([config.channels, *widths])):
            halves = number < downs
            block = ResidualDown(inputs, outputs, outputs, first=number == 0, halves=halves)
            attends = halves and config.image_size == config.attention * 2 ** (number + 1)
            blocks.append(nn.Sequential(block, SelfAttention(outputs)) if attends else block)
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(widths[-1], 1)
        self.projection = nn.Embedding(config.classes, widths[-1]) if config.classes else None
        initialize_orthogonally(self)
        if config.norm == "spectral":
            put_spectral_norm(self, embeddings=True)

    def features(self, images: Tensor) -> list[Tensor]:
        """The activations after every block, highest resolution first."""
        return activations(self.blocks, images)

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        check_classes("discriminator", self.config.classes, classes)
        pooled = relu(self.features(images)[-1]).sum(dim=(2, 3))
        logits = self.head(pooled).flatten()
        return logits if self.projection is None else logits + (self.projection(classes) * pooled).sum(dim=1)

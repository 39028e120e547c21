"""CycleGAN's networks (Zhu, Park, Isola, Efros 2017, appendix 7.2): ResNet generator and PatchGAN discriminator.

Layers stand in the order and with the indices of the authors' own code, so that their checkpoints map onto ours key
by key. The generator's upsampling keeps the paper's 3 x 3 fractional convolutions for that reason.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from models.errors import check_choice, check_range
from models.faces import Translator
from models.networks.attention import MaskHead, compose
from models.networks.blocks import activations
from models.networks.initial import initialize_as_dcgan
from models.networks.table import architecture

_PADS = {"reflect": nn.ReflectionPad2d, "replicate": nn.ReplicationPad2d, "zero": nn.ZeroPad2d}


@architecture("cyclegan", Translator)
@dataclass(frozen=True)
class ResNetConfig:
    """Everything that rebuilds a translator: c7s1-w, d2w, d4w, R4w x blocks, u2w, uw, c7s1-c in the paper's notation.

    Attributes:
        width: channels of the first layer (64 in the paper).
        blocks: residual blocks; the paper takes 6 at 128 px and 9 at 256 px.
        padding: of the convolutions in residual blocks; "reflect" in the paper.
        resampling: "strided" (the paper's convolutions), or "antialiased": convolutions without stride, and a blur
            that halves or doubles the side (Zhang 2019), as CUT's networks have them (Park et al. 2020).
        attention: channels of the head that gives a mask of what changes (`attention.py`); 0, as the paper: none.
        sub_pixel: the first and the last layer see squares of 2 x 2 pixels as channels, by sub-pixel convolution (Shi
            et al. 2016), in the place of the outer halving and doubling; 3 x 3. No layer then works at the photo's own
            size, where a CPU spends half of its time.
    """

    stride: ClassVar[int] = 4  # two halvings: sides must be multiples of this
    minimum_size: ClassVar[int] = 8  # reflection inside the residual blocks needs 2 x 2 features

    channels: int = 3
    width: int = 64
    blocks: int = 9
    padding: Literal["reflect", "replicate", "zero"] = "reflect"
    resampling: Literal["strided", "antialiased"] = "strided"
    attention: int = 0
    sub_pixel: bool = False

    def __post_init__(self) -> None:
        check_choice("channels", self.channels, (1, 3))
        check_range("width", self.width, 1, 512)
        check_range("blocks", self.blocks, 1, 32)
        check_choice("padding", self.padding, tuple(_PADS))
        check_choice("resampling", self.resampling, ("strided", "antialiased"))
        check_range("attention", self.attention, 0, 512)

    @property
    def attends(self) -> bool:
        """Whether the generators give masks."""
        return self.attention > 0

    def parts(self) -> dict[str, nn.Module]:
        """A generator for each direction, newly initialised."""
        return {direction: ResNetGenerator(self) for direction in Translator.PARTS}


@dataclass(frozen=True)
class PatchGANConfig:
    """Everything that rebuilds a patch discriminator; 3 layers see 70 x 70 pixels each (Isola et al. 2017)."""

    channels: int = 3
    width: int = 64
    layers: int = 3
    norm: Literal["instance", "spectral"] = "instance"

    def __post_init__(self) -> None:
        check_choice("channels", self.channels, (1, 3))
        check_range("width", self.width, 1, 512)
        check_range("layers", self.layers, 1, 6)
        check_choice("norm", self.norm, ("instance", "spectral"))

    def build(self) -> "PatchDiscriminator":
        """The discriminator, newly initialised."""
        return PatchDiscriminator(self)


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), 3 x 3, padded, instance normalised; [n, c, h, w] -> the same."""

    def __init__(self, channels: int, padding: str) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _PADS[padding](1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(inplace=True),
            _PADS[padding](1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + self.layers(images)


class ResNetGenerator(nn.Module):
    """Images [n, c, h, w] in [-1, 1] -> images of the other domain, the same shape and range.

    Sides must be multiples of 4 and at least 8 (`models.pad_to_stride` makes them so).
    """

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.layers = nn.Sequential(
            *_read(config),
            *_halved(config, width * 2),
            *(ResidualBlock(width * 4, config.padding) for _ in range(config.blocks)),
            *_doubled(config, width * 2),
            *_painted(config),
            nn.Tanh(),
        )
        initialize_as_dcgan(self)
        blocks = [number for number, layer in enumerate(self.layers) if isinstance(layer, ResidualBlock)]
        self._trunk = blocks[-1] + 1
        convolutions = [number for number, layer in enumerate(self.layers) if isinstance(layer, nn.Conv2d)]
        halving = [number for number in convolutions if number < blocks[0]][1:]
        self._taps = (*halving, *sorted({blocks[0], blocks[:5][-1]}))
        self.mask = MaskHead(width * 4, config.attention, config.stride) if config.attends else None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return compose(images, *self.attend(images)) if self.config.attends else self.layers(images)

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """What CUT compares images by (Park et al. 2020), each [n, c', h', w'].

        The image itself, the maps of the halving convolutions before their norms, and those of the first and of the
        fifth residual block, or of the last where there are fewer.
        """
        kept, start = [images], 0
        for stop in (tap + 1 for tap in self._taps):
            kept.append(self.layers[start:stop](kept[-1]))
            start = stop
        return kept

    def attend(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Painted pictures [n, c, h, w] in [-1, 1] and masks [n, 1, h, w] in [0, 1], of a generator with attention."""
        assert self.mask is not None
        maps = self.layers[: self._trunk](images)
        masks = self.mask(maps)
        return self.layers[self._trunk :](maps), masks


def _normalised(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)


def _read(config: ResNetConfig) -> list[nn.Module]:
    """Images [n, c, h, w] -> [n, 2 width, h / 2, w / 2]"""
    width = config.width
    if config.sub_pixel:
        squares = nn.Conv2d(4 * config.channels, 2 * width, 3)
        return [nn.PixelUnshuffle(2), nn.ReflectionPad2d(1), squares, *_normalised(2 * width)]
    pixels = nn.Conv2d(config.channels, width, 7)
    return [nn.ReflectionPad2d(3), pixels, *_normalised(width), *_halved(config, width)]


def _painted(config: ResNetConfig) -> list[nn.Module]:
    """[n, 2 width, h / 2, w / 2] -> images [n, c, h, w], before the tanh"""
    width = config.width
    if config.sub_pixel:
        return [nn.ReflectionPad2d(1), nn.Conv2d(2 * width, 4 * config.channels, 3), nn.PixelShuffle(2)]
    return [*_doubled(config, width), nn.ReflectionPad2d(3), nn.Conv2d(width, config.channels, 7)]


def _halved(config: ResNetConfig, channels: int) -> list[nn.Module]:
    """[n, c, h, w] -> [n, 2 c, h / 2, w / 2]"""
    wider = 2 * channels
    if config.resampling == "strided":
        return [nn.Conv2d(channels, wider, 3, 2, 1), *_normalised(wider)]
    return [nn.Conv2d(channels, wider, 3, 1, 1), *_normalised(wider), BlurDown(wider)]


def _doubled(config: ResNetConfig, channels: int) -> list[nn.Module]:
    """[n, 2 c, h, w] -> [n, c, 2 h, 2 w]"""
    wider = 2 * channels
    if config.resampling == "strided":
        return [nn.ConvTranspose2d(wider, channels, 3, 2, 1, output_padding=1), *_normalised(channels)]
    return [BlurUp(wider), nn.Conv2d(wider, channels, 3, 1, 1), *_normalised(channels)]


class BlurDown(nn.Module):
    """Every second pixel of the maps blurred by [1, 2, 1] / 4 each way: [n, c, h, w] -> [n, c, h / 2, w / 2]."""

    filt: torch.Tensor  # [c, 1, 3, 3], in the state dictionary under the authors' name

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", _blur([1, 2, 1], channels))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        padded = nn.functional.pad(maps, (1, 1, 1, 1), mode="reflect")
        return nn.functional.conv2d(padded, self.filt, stride=2, groups=maps.shape[1])


class BlurUp(nn.Module):
    """Pixels set apart by zeros and blurred by [1, 3, 3, 1] / 4 each way: [n, c, h, w] -> [n, c, 2 h, 2 w]."""

    filt: torch.Tensor  # [c, 1, 4, 4], in the state dictionary under the authors' name

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", 4 * _blur([1, 3, 3, 1], channels))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        padded = nn.functional.pad(maps, (1, 1, 1, 1), mode="replicate")
        doubled = nn.functional.conv_transpose2d(padded, self.filt, stride=2, padding=2, groups=maps.shape[1])
        return doubled[:, :, 1:-1, 1:-1]


def _blur(weights: list[float], channels: int) -> torch.Tensor:
    """The same kernel of sum 1 for every channel: [c, 1, k, k]."""
    line = torch.tensor(weights, dtype=torch.float32)
    kernel = torch.outer(line, line)
    return (kernel / kernel.sum()).repeat(channels, 1, 1, 1)


class PatchDiscriminator(nn.Module):
    """Images [n, c, h, w] in [-1, 1] -> logits [n, 1, h', w'], one for each patch, positive for real."""

    def __init__(self, config: PatchGANConfig) -> None:
        super().__init__()
        self.config = config
        blocks = [nn.Sequential(self._conv(config.channels, config.width, 2), nn.LeakyReLU(0.2, inplace=True))]
        channels = config.width
        for layer in range(1, config.layers + 1):
            wider = config.width * min(2**layer, 8)
            stride = 2 if layer < config.layers else 1
            norm: list[nn.Module] = [nn.InstanceNorm2d(wider)] if config.norm == "instance" else []
            block = nn.Sequential(self._conv(channels, wider, stride), *norm, nn.LeakyReLU(0.2, inplace=True))
            blocks.append(block)
            channels = wider
        self.blocks = nn.ModuleList(blocks)
        self.head = self._conv(channels, 1, 1)
        initialize_as_dcgan(self)

    def _conv(self, inputs: int, outputs: int, stride: int) -> nn.Module:
        conv = nn.Conv2d(inputs, outputs, 4, stride, 1)
        return spectral_norm(conv) if self.config.norm == "spectral" else conv

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The activations after every block, highest resolution first."""
        return activations(self.blocks, images)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images)[-1])


class SampleNorm(nn.InstanceNorm2d):
    """`nn.InstanceNorm2d` without weights or running statistics, one image at a time: [n, c, h, w] -> the same.

    Batch norm of a single image is instance norm, and torch's batch norm keeps the channels-last layout where its
    instance norm goes through a copy to the other layout and back, forwards and backwards: 30% of CycleGAN's step.
    """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        norms = [nn.functional.batch_norm(image, None, None, training=True, eps=self.eps) for image in images.split(1)]
        return torch.cat(norms) if len(norms) > 1 else norms[0]


def use_sample_norms(network: nn.Module) -> None:
    """Puts `SampleNorm` in place of instance norms, in place; those with weights or running statistics stay.

    Neither has anything in the state dictionary, so checkpoints are the same either way.
    """
    for parent in list(network.modules()):
        for name, layer in parent.named_children():
            if type(layer) is nn.InstanceNorm2d and not layer.affine and not layer.track_running_stats:
                setattr(parent, name, SampleNorm(layer.num_features, eps=layer.eps))

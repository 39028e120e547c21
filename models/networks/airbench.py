"""The classifier of Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (airbench94): quick to train.

A convolution of 2 x 2 pixels whitens the patches of an image: its filters are the eigenvectors of the training images'
patches, with both signs, and are not trained. Three groups follow, each of which halves the side and has two
convolutions of 3 x 3 pixels; then the largest value of every channel, which is the feature vector, and a linear layer.
Batch norms shift and do not scale. The first filters of every convolution begin as the identity (section 3.2).
`training/classifier` trains it.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import gelu, max_pool2d

from models.classifier import Classifier
from models.errors import check_choice, check_range
from models.networks.table import architecture

WIDENING = 4  # the second and third group have so many times the channels of the first
LOGITS = 1 / 9  # scale of the logits


@architecture("airbench", Classifier)
@dataclass(frozen=True)
class AirbenchConfig:
    """Everything that rebuilds the classifier; the paper's, of 2 million weights, by default.

    Attributes:
        classes: from 2.
        width: channels of the first group.
    """

    image_size: int = 32
    channels: int = 3
    classes: int = 10
    width: int = 64

    def __post_init__(self) -> None:
        check_range("image_size", self.image_size, 16, 256)
        check_choice("channels", self.channels, (1, 3))
        check_range("classes", self.classes, 2, 10_000)
        check_range("width", self.width, 8, 512)

    @property
    def feature_size(self) -> int:
        return WIDENING * self.width

    def parts(self) -> dict[str, nn.Module]:
        """The classifier, newly initialised, but for the whitening: that needs the training images."""
        return {"classifier": Airbench(self)}


class Airbench(nn.Module):
    """Images [n, c, s, s] in [-1, 1] -> logits [n, classes]."""

    def __init__(self, config: AirbenchConfig) -> None:
        super().__init__()
        self.config = config
        patch = config.channels * 2 * 2
        self.whitening = nn.Conv2d(config.channels, 2 * patch, 2)
        self.whitening.weight.requires_grad_(False)
        wide = config.feature_size
        self.groups = nn.ModuleList([_Group(2 * patch, config.width), _Group(config.width, wide), _Group(wide, wide)])
        self.last = nn.Linear(wide, config.classes, bias=False)

    @torch.no_grad()
    def whiten(self, images: torch.Tensor, least: float = 1e-4) -> None:
        """Sets the filters that bring the 2 x 2 patches of images [n, c, s, s] to covariance 1, with both signs.

        Args:
            least: added to every variance, so that directions of noise alone are not blown up.
        """
        patches = torch.nn.functional.unfold(images, 2).transpose(1, 2).flatten(0, 1)  # [n positions, 4 c]
        variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (directions / (variances + least).sqrt()).T.flip(0).unflatten(1, (-1, 2, 2))
        self.whitening.weight.copy_(torch.cat([filters, -filters]))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """The largest value of every channel after the last group, [n, features]."""
        maps = gelu(self.whitening(images))
        for group in self.groups:
            maps = group(maps)
        return maps.amax(dim=(2, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(self.features(images)) * LOGITS
        return logits


class _Group(nn.Module):
    """[n, in, s, s] -> [n, out, s // 2, s // 2]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_convolution(count, outputs) for count in (inputs, outputs))
        self.norms = nn.ModuleList(_norm(outputs) for _ in range(2))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        maps = gelu(self.norms[0](max_pool2d(self.convs[0](maps), 2)))
        return gelu(self.norms[1](self.convs[1](maps)))


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(layer.weight[:inputs])
    return layer


def _norm(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.4)
    layer.weight.requires_grad_(False)
    return layer

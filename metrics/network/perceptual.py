"""How different two images look: distance of their activations inside the Inception, layer by layer.

The form is LPIPS' (Zhang et al. 2018, eq. 1) with every channel weighted alike, their baseline, on the network that FID
uses anyway: activations are normalised along their channels at each position, their squared differences are summed over
channels and averaged over positions, and the layers are averaged. Only the first layers are run, so that it takes
milliseconds and has gradients. Its values compare among themselves, not with LPIPS of other networks.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metrics.network import inception, weights

SIDE = 64  # pixels; smaller images are enlarged to it, because the layers need room


class PerceptualDistance(nn.Module):
    """Images float32 [n, 1 or 3, h, w] in [-1, 1], two of one shape -> float32 [n], 0 (the same) to 4."""

    def __init__(self, network: inception.Inception) -> None:
        super().__init__()
        self.network = network

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return self.between(self.activations(one), self.activations(other))

    def activations(self, images: Tensor) -> list[Tensor]:
        """What is compared, so that it need not be computed anew for an image that stays."""
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        if min(images.shape[2:]) < SIDE:
            scale = SIDE / min(images.shape[2:])
            images = F.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)
        return [F.normalize(one, dim=1) for one in self.network.first_layers(images)]

    def between(self, one: list[Tensor], other: list[Tensor]) -> Tensor:
        """The distance of images by their `activations`, [n]."""
        layers = [(a - b).square().sum(dim=1).mean(dim=(1, 2)) for a, b in zip(one, other, strict=True)]
        return torch.stack(layers).mean(dim=0)


def perceptual_distance(path: str | Path | None = None) -> PerceptualDistance:
    """On the CPU, in eval mode. `path` and errors as `weights.load` has them."""
    return PerceptualDistance(inception.build(weights.load(path).tensors))

"""The projection heads of CUT, H_l: what is compared of a place in an image (Park et al. 2020, section 3)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class ProjectionHeads(nn.Module):
    """A perceptron of two layers for each layer of a generator's encoder: maps at some places -> unit vectors.

    Weights and biases begin as torch has them. The authors begin with Xavier's weights times 0.02, which makes vectors
    of length 0.001 before they are normalised: their first gradients are up to 10^5, and Adam's second moment remembers
    that for thousands of steps, in which the heads hardly move.

    Args:
        channels: of each layer's maps.
        width: units of both layers, and components of a vector (256 in the paper).
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, width), nn.ReLU(inplace=True), nn.Linear(width, width))
            for inputs in channels
        )

    def forward(self, maps: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
        """Vectors [n, p, width] of length 1, for each layer, in full precision.

        Args:
            maps: for each layer [n, c, h, w].
            places: for each layer int64 [p] in [0, h * w), row by row: the same places of all n images.
        """
        with torch.autocast(maps[0].device.type, enabled=False):
            patches = [one.permute(0, 2, 3, 1).flatten(1, 2)[:, at] for one, at in zip(maps, places, strict=True)]
            return [normalize(head(patch.float()), dim=-1) for head, patch in zip(self.heads, patches, strict=True)]

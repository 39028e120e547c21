"""The residual block of a discriminator (Gulrajani et al. 2017), which SNGAN and BigGAN share."""

import torch
from torch import nn
from torch.nn.functional import avg_pool2d, relu


class ResidualDown(nn.Module):
    """[n, in, s, s] -> [n, out, s / 2, s / 2], or s where it does not halve: two convolutions beside a shortcut.

    Args:
        hidden: channels between the two convolutions.
        first: it sees an image, so no ReLU comes before it.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, *, first: bool, halves: bool) -> None:
        super().__init__()
        self.first, self.halves = first, halves
        widths = ((inputs, hidden), (hidden, outputs))
        self.convs = nn.ModuleList(nn.Conv2d(count, other, 3, padding=1) for count, other in widths)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if halves or inputs != outputs else nn.Identity()

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        shortcut = self.shortcut(maps)
        maps = self.convs[1](relu(self.convs[0](maps if self.first else relu(maps))))
        together = shortcut + maps
        return avg_pool2d(together, 2) if self.halves else together

"""Networks that are a chain of blocks, of which a game may look at every link."""

from collections.abc import Iterable

import torch
from torch import nn


def activations(blocks: Iterable[nn.Module], images: torch.Tensor) -> list[torch.Tensor]:
    """What each block gives, in order; the first takes the images, each other what the one before it gave."""
    given = []
    for block in blocks:
        images = block(images)
        given.append(images)
    return given

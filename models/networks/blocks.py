"""Networks that are a chain of blocks: how wide each is, and what it gives, which a game may look at."""

from collections.abc import Iterable

import torch
from torch import nn


def doubling(width: int, max_multiplier: int, count: int) -> list[int]:
    """Channels of so many resolutions, the highest first: each has twice as many, up to width x max_multiplier."""
    return [width * min(2**level, max_multiplier) for level in range(count)]


def activations(blocks: Iterable[nn.Module], images: torch.Tensor) -> list[torch.Tensor]:
    """What each block gives, in order; the first takes the images, each other what the one before it gave."""
    given = []
    for block in blocks:
        images = block(images)
        given.append(images)
    return given

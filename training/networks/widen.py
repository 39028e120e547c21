"""A DCGAN generator made wider that draws what it drew: Chen, Goodfellow, Shlens 2016, "Net2Net", section 2.3.

Every channel is repeated, and what the next layer makes of it is divided among the copies. The copies get unequal
parts, or all of them would learn the same for ever: noise is added that sums to zero over the copies of a channel, so
that the pictures stay as they are. (The paper draws which channels to repeat; here all are, for whole multiples.)
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models import DCGANConfig

SPREAD = 0.5  # deviation of the copies' weights, as a share of their part's


def widened(state: Mapping[str, Tensor], narrow: Any, wide: Any) -> dict[str, Tensor]:
    """The weights of a generator of `wide` that draws what one of `narrow` draws with `state`.

    Noise is from torch's global generator. Weights whose shape has nothing to do with the width stay as they are.

    Args:
        narrow, wide: alike but for the width, of which wide's is a multiple; see `fits`.
    """
    times = wide.width // narrow.width
    last = max(int(name.split(".")[1]) for name in state if name.startswith("layers."))
    return {name: _widened(name, tensor, times, last) for name, tensor in state.items()}


def fits(narrow: Any, wide: Any) -> bool:
    """Whether both architectures are DCGAN's, and every map of `wide` has the same multiple of `narrow`'s channels."""
    return (
        type(narrow) is type(wide) is DCGANConfig
        and wide.width > narrow.width
        and wide.width % narrow.width == 0
        and (wide.image_size, wide.max_multiplier) == (narrow.image_size, narrow.max_multiplier)
    )


def _widened(name: str, tensor: Tensor, times: int, last: int) -> Tensor:
    if name.startswith("scales."):  # [classes, scales and then shifts]
        return torch.cat([half.repeat(1, times) for half in tensor.chunk(2, dim=1)], dim=1)
    if not name.startswith("layers.") or tensor.ndim == 0:
        return tensor
    if tensor.ndim == 1:  # batch norm
        return tensor.repeat(times)
    number = int(name.split(".")[1])  # a transposed convolution: [in, out, 4, 4]
    if number < last:
        tensor = tensor.repeat(1, times, 1, 1)
    if number == 0:  # of latents
        return tensor
    noise = torch.randn(times, *tensor.shape, dtype=tensor.dtype)
    noise = (noise - noise.mean(dim=0)) * tensor.std() * SPREAD
    return ((tensor + noise) / times).flatten(0, 1)

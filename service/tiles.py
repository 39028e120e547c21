"""Large images in overlapping tiles, without a visible seam.

CycleGAN's instance norms take their mean and variance from the whole image; a tile would take them from itself, and
neighbours would differ in tone. So the statistics are taken once, from the image made small, and held fixed for all
tiles (thumbnail instance normalisation: Chen et al. 2022, "Towards Ultra-Resolution Neural Style Transfer via
Thumbnail Instance Normalization", section 3.2). What a network then makes of a pixel depends on its surroundings only,
tiles agree where they overlap up to the border's padding, and the rest is blended.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.images import Pixels

OVERLAP = 128  # pixels that neighbours share: about twice the radius that 9 residual blocks see, 90 pixels
RAMP = 48  # pixels over which one tile gives way to the next, in the middle of the overlap


@dataclass(frozen=True, eq=False)
class Norms:
    """(mean, variance), each [channels], of every instance norm, in the order in which they run."""

    moments: tuple[tuple[torch.Tensor, torch.Tensor], ...]


@contextlib.contextmanager
def captured(module: nn.Module) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Collects the moments that the module's instance norms see while the block runs."""
    moments: list[tuple[torch.Tensor, torch.Tensor]] = []

    def look(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        variance, mean = torch.var_mean(inputs[0].float(), dim=(0, 2, 3), correction=0)
        moments.append((mean, variance))

    handles = [norm.register_forward_pre_hook(look) for norm in _norms(module)]
    try:
        yield moments
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def fixed(module: nn.Module, norms: Norms) -> Iterator[None]:
    """While the block runs, the module's instance norms use these moments in place of their input's own."""
    handles = [
        norm.register_forward_hook(_using(mean, variance))
        for norm, (mean, variance) in zip(_norms(module), norms.moments, strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _using(mean: torch.Tensor, variance: torch.Tensor):  # type: ignore[no-untyped-def]
    def replace(module: nn.InstanceNorm2d, inputs: tuple[torch.Tensor, ...], _: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.batch_norm(inputs[0], mean, variance, eps=module.eps)

    return replace


def _norms(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, nn.InstanceNorm2d)]


def starts(length: int, tile: int) -> list[int]:
    """Where tiles begin along a side of `length` pixels: evenly apart, neighbours sharing OVERLAP or more."""
    if length <= tile:
        return [0]
    count = -(-(length - OVERLAP) // (tile - OVERLAP))
    return [round(index * (length - tile) / (count - 1)) for index in range(count)]


def boxes(height: int, width: int, tile: int) -> list[tuple[int, int, int, int]]:
    """(top, left, height, width) of every tile."""
    return [
        (top, left, min(tile, height), min(tile, width)) for top in starts(height, tile) for left in starts(width, tile)
    ]


def blend(parts: list[Pixels], places: list[tuple[int, int, int, int]], height: int, width: int) -> Pixels:
    """The whole image uint8 [height, width, c] from its tiles."""
    total = np.zeros((height, width, parts[0].shape[2]), np.float32)
    weight = np.zeros((height, width, 1), np.float32)
    for part, (top, left, rows, columns) in zip(parts, places, strict=True):
        mask = np.outer(_ramp(top, rows, height), _ramp(left, columns, width))[..., None]
        total[top : top + rows, left : left + columns] += part * mask
        weight[top : top + rows, left : left + columns] += mask
    return np.rint(total / weight).astype(np.uint8)


def _ramp(start: int, length: int, whole: int) -> npt.NDArray[np.float32]:
    """Weights along one side: near 0 where the tile's padding shows, 1 inside and at the image's own border."""
    position = np.arange(length, dtype=np.float32)
    margin = (OVERLAP - RAMP) / 2
    rise = np.ones(length, np.float32) if start == 0 else (position - margin) / RAMP
    fall = np.ones(length, np.float32) if start + length == whole else (length - 1 - position - margin) / RAMP
    return np.clip(np.minimum(rise, fall), 1e-6, 1.0).astype(np.float32)

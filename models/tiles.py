"""Large images in overlapping tiles, without a visible seam.

CycleGAN's instance norms take their mean and variance from the whole image; a tile would take them from itself, and
neighbours would differ in tone. So the statistics are taken once, over crops spread over the whole image, and held
fixed for all tiles. (Thumbnail instance normalisation, Chen et al. 2022, takes them from the image made small; that
loses the fine texture, on which the statistics depend.) What a network then makes of a pixel depends on its
surroundings only: tiles agree where they overlap, up to the padding at their borders, and the rest is blended.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.images import Pixels

SIDE = 512  # of a tile, in pixels
WHOLE = 1_048_576  # pixels up to which an image is better translated in one piece
OVERLAP = 128  # pixels that neighbours share: about twice the radius that 9 residual blocks see, 90 pixels
ALIGN = 4  # the networks' stride, in pixels
CROP = 256  # side of the crops that statistics are taken from, in pixels
RAMP = 48  # pixels over which one tile gives way to the next, in the middle of the overlap

Place = tuple[int, int, int, int]
"""(top, left, height, width) of a tile, in pixels of the whole image."""


@dataclass(frozen=True, eq=False)
class Norms:
    """(mean, variance), each [channels], of every instance norm, in the order in which they run."""

    moments: tuple[tuple[torch.Tensor, torch.Tensor], ...]


@torch.inference_mode()
def measured(module: nn.Module, crops: torch.Tensor) -> Norms:
    """What a generator's instance norms find over crops [k, c, h, w] of one image, taken together."""
    moments: list[tuple[torch.Tensor, torch.Tensor]] = []

    def look(norm: nn.InstanceNorm2d, inputs: tuple[torch.Tensor, ...], _: torch.Tensor) -> torch.Tensor:
        variance, mean = torch.var_mean(inputs[0].float(), dim=(0, 2, 3), correction=0)
        moments.append((mean, variance))
        return torch.nn.functional.batch_norm(inputs[0], mean, variance, eps=norm.eps)

    handles = [norm.register_forward_hook(look) for norm in _norms(module)]
    try:
        module(crops)
    finally:
        for handle in handles:
            handle.remove()
    return Norms(tuple(moments))


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


def aligned(pixels: Pixels) -> Pixels:
    """The image with its last rows and columns reflected until both sides are multiples of ALIGN."""
    height, width = aligned_size(*pixels.shape[:2])
    down, right = height - pixels.shape[0], width - pixels.shape[1]
    if not down and not right:
        return pixels
    mode: Literal["symmetric", "edge"] = "symmetric" if min(pixels.shape[:2]) >= ALIGN else "edge"
    return np.pad(pixels, ((0, down), (0, right), (0, 0)), mode=mode)


def aligned_size(height: int, width: int) -> tuple[int, int]:
    """What `aligned` makes of an image's size."""
    return height + -height % ALIGN, width + -width % ALIGN


def crop_boxes(height: int, width: int) -> list[tuple[int, int, int, int]]:
    """(top, left, height, width) of up to 16 crops of at most 256 x 256, evenly spread."""
    rows, columns = min(height, CROP), min(width, CROP)
    tops = np.linspace(0, height - rows, min(4, -(-height // rows))).astype(int)
    lefts = np.linspace(0, width - columns, min(4, -(-width // columns))).astype(int)
    return [(int(top), int(left), rows, columns) for top in tops for left in lefts]


def crops(pixels: Pixels) -> Pixels:
    """Those crops: uint8 [h, w, c] -> [k, h', w', c]."""
    places = crop_boxes(*pixels.shape[:2])
    return np.stack([pixels[top : top + rows, left : left + columns] for top, left, rows, columns in places])


def starts(length: int, tile: int) -> list[int]:
    """Where tiles begin along a side of `length` pixels: evenly apart, neighbours sharing OVERLAP or so.

    All begin at multiples of ALIGN, where the network's strided layers sample the whole image too; `length` and `tile`
    must be multiples of it.
    """
    if length <= tile:
        return [0]
    count = -(-(length - OVERLAP) // (tile - OVERLAP))
    return [index * (length - tile) // (count - 1) // ALIGN * ALIGN for index in range(count)]


def boxes(height: int, width: int, tile: int) -> list[Place]:
    """Of every tile."""
    return [
        (top, left, min(tile, height), min(tile, width)) for top in starts(height, tile) for left in starts(width, tile)
    ]


class Canvas:
    """A small copy of an image, on which its tiles appear as they are translated: every k-th row and column.

    Attributes:
        pixels: uint8 [h', w', c], of at most 2 x 256 pixels a side.
    """

    def __init__(self, pixels: Pixels) -> None:
        self._step = -(-max(pixels.shape[:2]) // (2 * CROP))
        self.pixels = pixels[:: self._step, :: self._step].copy()

    def put(self, tile: Pixels, place: Place) -> None:
        """uint8 [height, width, c] in its place."""
        top, left = (-(-start // self._step) for start in place[:2])  # the first row and column of it that are shown
        small = tile[top * self._step - place[0] :: self._step, left * self._step - place[1] :: self._step]
        room = self.pixels[top : top + small.shape[0], left : left + small.shape[1]]
        room[:] = small[: room.shape[0], : room.shape[1]]


def blend(parts: list[Pixels], places: list[Place], height: int, width: int) -> Pixels:
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

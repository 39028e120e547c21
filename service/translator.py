"""A translator in service: images of one size share forward passes, large ones go in tiles."""

import asyncio
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from PIL import Image

import models
from models.errors import InputError
from models.images import Pixels
from service.batcher import Batcher
from service.telemetry import ForwardTime, current_span
from service.tiles import Norms, blend, boxes, captured, fixed

BLOCK = 64 * 64  # pixels that a translation counts one for, against max_batch and max_queue


@dataclass(frozen=True)
class Work:
    """What a batch of images has in common: they are [height, width] pixels and go one way.

    Attributes:
        norms: moments to use in place of the images' own.
        measure: an answer of Norms is wanted, not of pixels.
    """

    direction: models.Direction
    height: int
    width: int
    norms: Norms | None = None
    measure: bool = False


@dataclass(frozen=True, eq=False)
class Translator:
    """A pair of translators.

    Attributes:
        tile: side of a tile.  whole: pixels up to which an image is translated in one piece.
    """

    network: models.Translator
    batcher: Batcher[Pixels, Pixels | Norms]
    tile: int
    whole: int

    async def image(self, pixels: Pixels, direction: models.Direction) -> Pixels:
        """uint8 [h, w, c] -> uint8 [h, w, c] of the other domain.

        Raises:
            InputError: a direction that the checkpoint does not hold.  OverloadError: the queue is full.
        """
        if direction not in self.network.directions:
            raise InputError(f"This model goes {' or '.join(self.network.directions)} only.", where="direction")
        height, width = pixels.shape[:2]
        if height * width <= self.whole:
            return cast(Pixels, await self._submit(Work(direction, height, width), pixels))
        small = _thumbnail(pixels, self.tile)
        measure = Work(direction, small.shape[0], small.shape[1], measure=True)
        norms = cast(Norms, await self._submit(measure, small))
        places = boxes(height, width, self.tile)
        work = Work(direction, places[0][2], places[0][3], norms)
        tiles = [
            (pixels[top : top + rows, left : left + columns], _blocks(work)) for top, left, rows, columns in places
        ]
        futures = self.batcher.submit_all(work, tiles, current_span.get())
        try:
            parts = cast(list[Pixels], await asyncio.gather(*futures))
        finally:
            for future in futures:
                future.cancel()
        return await asyncio.to_thread(blend, parts, places, height, width)

    async def _submit(self, work: Work, pixels: Pixels) -> Pixels | Norms:
        return await self.batcher.submit(work, pixels, _blocks(work), current_span.get())


def _blocks(work: Work) -> int:
    return -(-work.height * work.width // BLOCK)


def _thumbnail(pixels: Pixels, longest: int) -> Pixels:
    """The image made smaller, so that its longer side is `longest`; uint8 [h, w, c]."""
    height, width, channels = pixels.shape
    factor = longest / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    small = np.asarray(image.resize(size, Image.Resampling.BOX))
    return small[..., None] if channels == 1 else small


class TranslatorRun:
    """One batch of a translator, on the device's thread. `forward_time` is of the last batch."""

    def __init__(self, network: models.Translator, device: torch.device, stacked: bool) -> None:
        """`stacked`: run images together; else one after the other, where together would change their floats."""
        self._network = network
        self._device = device
        self._stacked = stacked
        self.forward_time = ForwardTime(0, 0)

    @torch.inference_mode()
    def __call__(self, key: Hashable, items: Sequence[Pixels]) -> list[Pixels | Norms]:
        work = cast(Work, key)
        images = models.to_float(np.stack(items)).to(self._device)
        images, size = models.pad_to_stride(images, self._network.stride, self._network.minimum_size)
        started = time.time_ns()
        if work.measure:
            results: list[Pixels | Norms] = [self._measure(image[None], work) for image in images]
        else:
            results = list(models.to_uint8(models.crop(self._forward(images, work), size)))
        self.forward_time = ForwardTime(started, time.time_ns())
        return results

    def _forward(self, images: torch.Tensor, work: Work) -> torch.Tensor:
        module = self._network.module[work.direction]
        images = images.contiguous(memory_format=torch.channels_last)
        if work.norms is not None:
            with fixed(module, work.norms):
                return module(images)
        return module(images) if self._stacked else torch.cat([module(image[None]) for image in images])

    def _measure(self, image: torch.Tensor, work: Work) -> Norms:
        module = self._network.module[work.direction]
        with captured(module) as moments:
            module(image.contiguous(memory_format=torch.channels_last))
        return Norms(tuple(moments))

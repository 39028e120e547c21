"""A translator in service: images of one size share forward passes, large ones go in tiles."""

import asyncio
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
import torch

import models
from models.errors import InputError
from models.images import Pixels
from service.engine.batcher import Batcher
from service.engine.tiles import Norms, aligned, blend, boxes, crops, fixed, pooled
from service.telemetry import ForwardTime, current_span

Forward = Callable[[torch.Tensor], torch.Tensor]  # images float32 [n, c, h, w] in [-1, 1] -> the same
BLOCK = 64 * 64  # pixels that a translation counts one for, against max_batch and max_queue


@dataclass(frozen=True)
class Work:
    """What a batch of images has in common: they are [height, width] pixels and go one way.

    Attributes:
        norms: moments to use in place of the images' own.
        measure: items are crops of an image [k, height, width, c], and an answer of Norms is wanted.
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

    CAN: ClassVar = ("translate",)  # the endpoints that it works with

    network: models.Translator
    batcher: Batcher[Pixels, Pixels | Norms]
    tile: int
    whole: int

    def tiles(self, height: int, width: int) -> int:
        """In how many pieces an image of this size is translated."""
        return 1 if height * width <= self.whole else len(boxes(height, width, self.tile))

    async def image(self, pixels: Pixels, direction: models.Direction) -> Pixels:
        """uint8 [h, w, c] -> uint8 [h, w, c] of the other domain.

        Raises:
            InputError: a direction that the checkpoint does not hold.  OverloadError: the queue is full.
        """
        if direction not in self.network.directions:
            raise InputError(f"This model goes {' or '.join(self.network.directions)} only.", where="direction")
        height, width = pixels.shape[:2]
        if height * width <= self.whole:
            work = Work(direction, height, width)
            return cast(Pixels, await self.batcher.submit(work, pixels, _blocks(work), current_span.get()))
        pixels = aligned(pixels)
        sample = crops(pixels)
        measure = Work(direction, sample.shape[1], sample.shape[2], measure=True)
        size = len(sample) * _blocks(measure)
        norms = cast(Norms, await self.batcher.submit(measure, sample, size, current_span.get()))
        places = boxes(pixels.shape[0], pixels.shape[1], self.tile)
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
        whole = await asyncio.to_thread(blend, parts, places, pixels.shape[0], pixels.shape[1])
        return whole[:height, :width]


def _blocks(work: Work) -> int:
    return -(-work.height * work.width // BLOCK)


class TranslatorRun:
    """One batch of a translator, on the translators' thread. `forward_time` is of the last batch."""

    def __init__(
        self,
        network: models.Translator,
        forward: Mapping[str, Forward],
        device: torch.device,
        stacked: bool,
        threads: int,
    ) -> None:
        """`forward`: what runs images in one piece, for each direction; tiles need the network's own layers.

        `stacked`: run images together; else one after the other, where together would change their floats.
        """
        self._network = network
        self._forwards = forward
        self._device = device
        self._stacked = stacked
        self._threads = threads
        self.forward_time = ForwardTime(0, 0)

    @torch.inference_mode()
    def __call__(self, key: Hashable, items: Sequence[Pixels]) -> list[Pixels | Norms]:
        work = cast(Work, key)
        torch.set_num_threads(self._threads)
        started = time.time_ns()
        if work.measure:
            results: list[Pixels | Norms] = [self._measure(crops, work) for crops in items]
        else:
            images, size = self._input(np.stack(items))
            results = list(models.to_uint8(models.crop(self._forward(images, work), size)))
        self.forward_time = ForwardTime(started, time.time_ns())
        return results

    def _input(self, pixels: Pixels) -> tuple[torch.Tensor, tuple[int, int]]:
        images = models.to_float(pixels).to(self._device)
        images, size = models.pad_to_stride(images, self._network.stride, self._network.minimum_size)
        return images.contiguous(memory_format=torch.channels_last), size

    def _forward(self, images: torch.Tensor, work: Work) -> torch.Tensor:
        if work.norms is not None:
            module = self._network.parts[work.direction]
            with fixed(module, work.norms):
                return cast(torch.Tensor, module(images))
        forward = self._forwards[work.direction]
        return forward(images) if self._stacked else torch.cat([forward(image[None]) for image in images])

    def _measure(self, crops: Pixels, work: Work) -> Norms:
        """Moments over the crops uint8 [k, h, w, c] of one image."""
        module = self._network.parts[work.direction]
        with pooled(module) as moments:
            module(self._input(crops)[0])
        return Norms(tuple(moments))

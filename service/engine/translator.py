"""A translator in service: images of one size share forward passes, large ones go in tiles."""

import asyncio
import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

import models
from models.errors import InputError, LimitError
from models.images import Pixels
from service.engine.batcher import Batcher, Flow, Key
from service.telemetry import ForwardTime, current_span

Forward = Callable[[torch.Tensor], torch.Tensor]
"""Images float32 [n, c, h, w] in [-1, 1] -> the same, or what `models.Unblended` gives."""
Done = Callable[[Pixels, models.tiles.Place], None]  # a piece that is translated, uint8 [h, w, c], and where it belongs
BLOCK = 64 * 64  # pixels that a translation counts one for, against max_batch and max_queue


@dataclass(frozen=True)
class Piece(Key[Pixels]):
    """Images or tiles of [height, width] pixels that go one way, with an image's own norms or with those given."""

    direction: models.Direction
    height: int
    width: int
    norms: models.tiles.Norms | None = None


@dataclass(frozen=True)
class Measure(Key[models.tiles.Norms]):
    """Crops [k, height, width, c], each of one image, whose norms are wanted."""

    direction: models.Direction
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class Translator:
    """A pair of translators.

    Attributes:
        tile: side of a tile.
        whole: pixels up to which an image is translated in one piece.

    A side that is shorter than what the network takes is padded to that, and counts for it: 100,000 x 1 pixels are
    100,000 x 8 of work.
    """

    CAN: ClassVar = ("translate",)  # the endpoints that it works with

    network: models.Translator
    batcher: Batcher[Pixels]
    tile: int
    whole: int

    def tiles(self, height: int, width: int) -> int:
        """In how many pieces an image of this size is translated."""
        return 1 if self._pixels(height, width) <= self.whole else len(models.tiles.boxes(height, width, self.tile))

    def at_once(self, height: int, width: int) -> int:
        """How many images of this size share a forward pass, one at least."""
        return max(1, self.batcher.max_size // self._blocks(height, width))

    def check(self, height: int, width: int, name: str, most: int) -> None:
        """Raises LimitError for an image of more than `most` pixels, naming it."""
        if (pixels := self._pixels(height, width)) > most:
            raise LimitError(
                f"{name} has {width} x {height} pixels, {pixels:,} once a short side is padded; at most "
                f"{most:,} are translated.",
                where=name,
            )

    def let_in(self, flow: Flow, sizes: Iterable[tuple[int, int]]) -> AbstractContextManager[None]:
        """Takes room for images [height, width] that are to come; raises OverloadError where there is none, or where
        so many cannot be translated within the deadline."""
        return self.batcher.let_in(flow, sum(self._work(height, width) for height, width in sizes))

    def _pixels(self, height: int, width: int) -> int:
        least = self.network.minimum_size
        return max(height, least) * max(width, least)

    def _blocks(self, height: int, width: int) -> int:
        return -(-self._pixels(height, width) // BLOCK)

    def _work(self, height: int, width: int) -> int:
        """Blocks of all that `image` submits: tiles overlap, and norms are measured first."""
        if self.tiles(height, width) == 1:
            return self._blocks(height, width)
        height, width = models.tiles.aligned_size(height, width)
        places = [*models.tiles.crop_boxes(height, width), *models.tiles.boxes(height, width, self.tile)]
        return sum(self._blocks(rows, columns) for _, _, rows, columns in places)

    async def image(self, pixels: Pixels, direction: models.Direction, flow: Flow | None = None) -> Pixels:
        """uint8 [h, w, c] -> uint8 [h, w, c] of the other domain; see `masked`."""
        translated, _ = await self.masked(pixels, direction, flow)
        return translated

    async def masked(
        self, pixels: Pixels, direction: models.Direction, flow: Flow | None = None, done: Done | None = None
    ) -> tuple[Pixels, Pixels | None]:
        """uint8 [h, w, c] -> uint8 [h, w, c] of the other domain, and the mask of what changed.

        The mask is uint8 [h, w], 255 where all is painted and 0 where the photo stays; None of a network without one.

        Args:
            flow: the request that it belongs to, where that has several.
            done: told of each piece as it comes.
        Raises:
            InputError: a direction that the checkpoint does not hold.  OverloadError: the queue is full.
        """
        if direction not in self.network.directions:
            raise InputError(f"This model goes {' or '.join(self.network.directions)} only.", where="direction")
        height, width = pixels.shape[:2]
        flow = flow or Flow()
        if self.tiles(height, width) == 1:
            size = self._blocks(height, width)
            piece = Piece(direction, height, width)
            whole = await self.batcher.submit(piece, pixels, size, current_span.get(), flow)
            if done is not None:
                done(self._parted(whole)[0], (0, 0, height, width))
            return self._parted(whole)
        pixels = models.tiles.aligned(pixels)
        sample = models.tiles.crops(pixels)
        measure = Measure(direction, sample.shape[1], sample.shape[2])
        size = len(sample) * self._blocks(measure.height, measure.width)
        norms = await self.batcher.submit(measure, sample, size, current_span.get(), flow)
        places = models.tiles.boxes(pixels.shape[0], pixels.shape[1], self.tile)
        piece = Piece(direction, places[0][2], places[0][3], norms)
        size = self._blocks(piece.height, piece.width)
        tiles = [(pixels[top : top + rows, left : left + columns], size) for top, left, rows, columns in places]
        futures = self.batcher.submit_all(piece, tiles, current_span.get(), flow)
        if done is not None:
            for future, place in zip(futures, places, strict=True):
                future.add_done_callback(functools.partial(self._tell, done, place))
        try:
            parts = await asyncio.gather(*futures)
        finally:
            for future in futures:
                future.cancel()
        whole = await asyncio.to_thread(models.tiles.blend, parts, places, pixels.shape[0], pixels.shape[1])
        return self._parted(whole[:height, :width])

    def _parted(self, pixels: Pixels) -> tuple[Pixels, Pixels | None]:
        return (pixels[..., :-1], pixels[..., -1]) if self.network.attends else (pixels, None)

    def _tell(self, done: Done, place: models.tiles.Place, future: "asyncio.Future[Pixels]") -> None:
        if not future.cancelled() and future.exception() is None:
            done(self._parted(future.result())[0], place)


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
    def __call__(
        self, key: Piece | Measure, items: Sequence[Pixels]
    ) -> Sequence[Pixels] | Sequence[models.tiles.Norms]:
        torch.set_num_threads(self._threads)
        started = time.time_ns()
        results = self._translate(key, items) if isinstance(key, Piece) else [self._measure(key, one) for one in items]
        self.forward_time = ForwardTime(started, time.time_ns())
        return results

    def _translate(self, piece: Piece, items: Sequence[Pixels]) -> list[Pixels]:
        """Uint8 [h, w, c] each, with the mask as one more channel where the network has one."""
        images, size = self._input(np.stack(items))
        made = self._forward(images, piece)
        if self._network.attends:
            painted, masks = made[:, :-1], made[:, -1:]
            made = torch.cat([models.compose(images, painted, masks), masks * 2 - 1], dim=1)
        return list(models.to_uint8(models.crop(made, size)))

    def _input(self, pixels: Pixels) -> tuple[torch.Tensor, tuple[int, int]]:
        images = models.to_float(pixels).to(self._device)
        images, size = models.pad_to_stride(images, self._network.stride, self._network.minimum_size)
        return images.contiguous(memory_format=torch.channels_last), size

    def _forward(self, images: torch.Tensor, piece: Piece) -> torch.Tensor:
        if piece.norms is not None:
            module = self._network.parts[piece.direction]
            with models.tiles.fixed(module, piece.norms):
                with_norms: Forward = module
                return with_norms(images)
        forward = self._forwards[piece.direction]
        return forward(images) if self._stacked else torch.cat([forward(image[None]) for image in images])

    def _measure(self, measure: Measure, crops: Pixels) -> models.tiles.Norms:
        """Moments over the crops uint8 [k, h, w, c] of one image."""
        return models.tiles.measured(self._network.parts[measure.direction], self._input(crops)[0])

"""A generator in service: points become pixels, in batches shared with other requests.

An autoencoder in service does two things more: it maps latents to codes, and finds the codes of images.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import torch

import models
from models.errors import InputError
from models.images import Pixels
from service.engine.batcher import Batcher, Flow, Key
from service.telemetry import ForwardTime, current_span

Result = TypeVar("Result")
Forward = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Latents:
    """Rows for a generator: points float32 [n, size] of a space, for conditional models class weights float32
    [n, classes] too.

    A class is a row with a single 1; other rows mix the classes' embeddings.
    """

    latents: torch.Tensor
    classes: torch.Tensor | None
    space: models.Space = "z"

    def split(self, size: int) -> "list[Latents]":
        """Parts of at most `size` rows."""
        if self.classes is None:
            return [Latents(part, None, self.space) for part in self.latents.split(size)]
        parts = zip(self.latents.split(size), self.classes.split(size), strict=True)
        return [Latents(latents, classes, self.space) for latents, classes in parts]


@dataclass(frozen=True)
class Rows(Key[Pixels]):
    """Points of one space share batches, whatever they are."""

    space: models.Space


@dataclass(frozen=True)
class ToCodes(Key[torch.Tensor]):
    """Latents float32 [n, latent] whose codes are wanted, or pixels uint8 [n, h, w, c]."""

    of: Literal["latents", "pixels"]


@dataclass(frozen=True, eq=False)
class Sampler:
    """A generator in service."""

    CAN: ClassVar = ("sample", "interpolate", "encode")  # the endpoints that it works with

    network: models.Generator
    batcher: "Batcher[Latents | torch.Tensor | Pixels]"

    @property
    def encodes(self) -> bool:
        """It has an encoder."""
        return isinstance(self.network, models.Autoencoder)

    async def images(self, rows: Latents, flow: Flow | None = None) -> Pixels:
        """Points [n, size] -> uint8 [n, h, w, c].

        Args:
            flow: what they belong to, where that is no request of its own.
        Raises:
            InputError: the wrong length, not finite, classes missing or not wanted.
            OverloadError: the queue is full, or too long for the deadline.
        """
        self.check(rows)
        parts = [(part, len(part.latents)) for part in rows.split(self.batcher.max_size)]
        pixels = await self._each(Rows(rows.space), parts, flow)
        return pixels[0] if len(pixels) == 1 else np.concatenate(pixels)

    async def at_home(self, points: torch.Tensor, space: models.Space, flow: Flow | None = None) -> torch.Tensor:
        """Points [n, size] of a space -> float32 [n, size of the network's home]; raises as `images` does."""
        self.check_points(points, space)
        if space == self.network.home:
            return points
        parts = [(part, len(part)) for part in points.split(self.batcher.max_size)]
        return torch.cat(await self._each(ToCodes("latents"), parts, flow))

    async def codes(self, pixels: Pixels, flow: Flow | None = None) -> torch.Tensor:
        """uint8 [n, h, w, c] of the network's own size -> their codes float32 [n, code].

        Raises OverloadError. Only for a network with an encoder.
        """
        size = self.batcher.max_size
        parts = [pixels[start : start + size] for start in range(0, len(pixels), size)]
        return torch.cat(await self._each(ToCodes("pixels"), [(part, len(part)) for part in parts], flow))

    async def _each(self, key: Key[Result], parts: Sequence[tuple[Any, int]], flow: Flow | None) -> list[Result]:
        futures = self.batcher.submit_all(key, parts, current_span.get(), flow)
        try:
            return [await futures[0]] if len(futures) == 1 else await asyncio.gather(*futures)
        finally:
            for future in futures:  # the first failure, or a caller who leaves, takes back what still waits
                future.cancel()

    def check(self, rows: Latents) -> None:
        """Raises InputError for rows that this generator cannot take."""
        self.check_points(rows.latents, rows.space)
        self.check_classes(rows.classes)

    def check_classes(self, weights: torch.Tensor | None) -> None:
        """Raises InputError for class weights where the model has no classes, and for none where it has."""
        classes = self.network.classes
        if classes and weights is None:
            raise InputError(f"This model needs a class: {', '.join(classes)}.", where="class")
        if not classes and weights is not None:
            raise InputError("This model has no classes; leave the class out.", where="class")

    def check_space(self, space: models.Space) -> None:
        """Raises InputError for a space that this generator does not draw from."""
        if space not in self.network.spaces:
            raise InputError("This model has no encoder, so that its latents are all of the space z.", where="space")

    def check_points(self, points: torch.Tensor, space: models.Space) -> None:
        """Raises InputError for what are no points of a space of this generator."""
        self.check_space(space)
        size = self.network.size_of(space)
        if points.ndim != 2 or points.shape[1] != size:
            raise InputError(f"Each latent of this model has {size} numbers{_in(space)}.", where="latents")
        if not np.isfinite(points.numpy()).all():  # a tenth of the time that torch takes for so few
            raise InputError("Latents must be finite numbers, as float32 too.", where="latents")


def _in(space: models.Space) -> str:
    return " in the space w" if space == "w" else ""


@dataclass(frozen=True)
class Forwards:
    """What runs on the generators' thread: the same for a row in any batch.

    Attributes:
        draw: by space, points with their class weights beside them -> images.
        map: latents -> codes.  encode: images -> codes.  Both None for a network without an encoder.
    """

    draw: Mapping[models.Space, Forward]
    map: Forward | None = None
    encode: Forward | None = None


class SamplerRun:
    """One batch of a generator, on the generators' thread. `forward_time` is of the last batch."""

    def __init__(self, forwards: Forwards, device: torch.device, threads: int) -> None:
        self._forwards = forwards
        self._device = device
        self._threads = threads
        self.forward_time = ForwardTime(0, 0)

    @torch.inference_mode()
    def __call__(self, key: Rows | ToCodes, items: Sequence[Any]) -> Sequence[Pixels] | Sequence[torch.Tensor]:
        torch.set_num_threads(self._threads)  # per thread, so it is set in the one that runs
        if isinstance(key, Rows):
            images = self._timed(self._forwards.draw[key.space], _joined(items))
            return np.split(models.to_uint8(images), np.cumsum([len(item.latents) for item in items])[:-1])
        if key.of == "latents":
            codes = self._timed(self._forwards.map, torch.cat(list(items)))
        else:
            codes = self._timed(self._forwards.encode, models.to_float(np.concatenate(items)))
        return codes.float().cpu().split([len(item) for item in items])

    def _timed(self, forward: Forward | None, rows: torch.Tensor) -> torch.Tensor:
        if forward is None:
            raise InputError("This model has no encoder.", where="model")
        started = time.time_ns()
        results = forward(rows.to(self._device))
        self.forward_time = ForwardTime(started, time.time_ns())
        return results


def _joined(items: Sequence[Latents]) -> torch.Tensor:
    """All rows, with the class weights beside them, so that padding and splitting treat both alike."""
    rows = torch.cat([item.latents for item in items])
    if items[0].classes is None:
        return rows
    return torch.cat([rows, torch.cat([item.classes for item in items if item.classes is not None])], dim=1)

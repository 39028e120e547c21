"""A generator in service: rows of latents become pixels, in batches shared with other requests."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

import models
from models.errors import InputError
from models.images import Pixels
from service.engine.batcher import Batcher, Flow, Key
from service.telemetry import ForwardTime, current_span


@dataclass(frozen=True)
class Latents:
    """Rows for a generator: latents float32 [n, latent], for conditional models class weights float32 [n, classes] too.

    A class is a row with a single 1; other rows mix the classes' embeddings.
    """

    latents: torch.Tensor
    classes: torch.Tensor | None

    def split(self, size: int) -> "list[Latents]":
        """Parts of at most `size` rows."""
        if self.classes is None:
            return [Latents(part, None) for part in self.latents.split(size)]
        parts = zip(self.latents.split(size), self.classes.split(size), strict=True)
        return [Latents(latents, classes) for latents, classes in parts]


@dataclass(frozen=True)
class Rows(Key[Pixels]):
    """Rows of latents share batches, whatever they are."""


@dataclass(frozen=True, eq=False)
class Sampler:
    """A generator in service."""

    CAN: ClassVar = ("sample", "interpolate")  # the endpoints that it works with

    network: models.Generator
    batcher: Batcher[Latents]

    async def images(self, rows: Latents, flow: Flow | None = None) -> Pixels:
        """Latents [n, latent] -> uint8 [n, h, w, c].

        Args:
            flow: what they belong to, where that is no request of its own.
        Raises:
            InputError: the wrong length, not finite, classes missing or not wanted.
            OverloadError: the queue is full, or too long for the deadline.
        """
        self.check(rows)
        parts = [(part, len(part.latents)) for part in rows.split(self.batcher.max_size)]
        futures = self.batcher.submit_all(Rows(), parts, current_span.get(), flow)
        try:
            return np.concatenate(await asyncio.gather(*futures)) if len(futures) > 1 else await futures[0]
        finally:
            for future in futures:  # the first failure, or a caller who leaves, takes back what still waits
                future.cancel()

    def check(self, rows: Latents) -> None:
        """Raises InputError for rows that this generator cannot take."""
        size, classes = self.network.latent_size, self.network.classes
        if rows.latents.ndim != 2 or rows.latents.shape[1] != size:
            raise InputError(f"Each latent of this model has {size} numbers.", where="latents")
        if not np.isfinite(rows.latents.numpy()).all():  # a tenth of the time that torch takes for so few
            raise InputError("Latents must be finite numbers, as float32 too.", where="latents")
        if classes and rows.classes is None:
            raise InputError(f"This model needs a class: {', '.join(classes)}.", where="class")
        if not classes and rows.classes is not None:
            raise InputError("This model has no classes; leave the class out.", where="class")


class SamplerRun:
    """One batch of a generator, on the generators' thread. `forward_time` is of the last batch."""

    def __init__(self, forward: Callable[[torch.Tensor], torch.Tensor], device: torch.device, threads: int) -> None:
        self._forward = forward
        self._device = device
        self._threads = threads
        self.forward_time = ForwardTime(0, 0)

    @torch.inference_mode()
    def __call__(self, _: Rows, items: Sequence[Latents]) -> list[Pixels]:
        rows = torch.cat([item.latents for item in items])
        if items[0].classes is not None:
            rows = torch.cat([rows, torch.cat([item.classes for item in items if item.classes is not None])], dim=1)
        torch.set_num_threads(self._threads)  # per thread, so it is set in the one that runs
        started = time.time_ns()
        images = self._forward(rows.to(self._device))
        self.forward_time = ForwardTime(started, time.time_ns())
        pixels = models.to_uint8(images)
        return np.split(pixels, np.cumsum([len(item.latents) for item in items])[:-1])

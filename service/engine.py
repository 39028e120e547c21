"""The engine: networks behind batchers, in plain Python. It knows no HTTP, no files and no encodings.

One thread per device loads nothing but runs everything: it warms a model up and serves it, so that whatever torch
sets up per thread is set up where it is used. Pixels go in and come out as uint8 [h, w, c].

Bit for bit: a generator's pixels do not depend on who else was in the batch. See `network.py` for how each
precision keeps that.
"""

import asyncio
import functools
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch

import models
from models.errors import CheckpointError, InputError
from models.images import Pixels
from service.batcher import Batcher, BatchReport
from service.settings import Settings

Direction = Literal["a_to_b", "b_to_a"]
Item = TypeVar("Item")
Observer = Callable[[str, BatchReport], None]

TILE_PIXELS = 256 * 256  # what a translation counts in, against max_batch


@dataclass(frozen=True)
class Latents:
    """Rows for one generator call: latents float32 [k, latent] and, for conditional models, classes int64 [k]."""

    latents: torch.Tensor
    classes: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class Sampler:
    """A generator in service."""

    network: models.Generator
    batcher: Batcher[Latents, Pixels]

    async def images(self, rows: Latents, tag: object = None) -> Pixels:
        """Latents [n, latent] -> uint8 [n, h, w, c].

        Raises:
            InputError: the wrong length, not finite, a class out of range, missing or not wanted.
            OverloadError: the queue is full.
        """
        self.check(rows)
        step = self.batcher.max_size
        parts = [
            Latents(rows.latents[i : i + step], None if rows.classes is None else rows.classes[i : i + step])
            for i in range(0, len(rows.latents), step)
        ]
        futures = self.batcher.submit_all("sample", [(part, len(part.latents)) for part in parts], tag)
        return np.concatenate(await _all(futures)) if len(futures) > 1 else await futures[0]

    def check(self, rows: Latents) -> None:
        """Raises InputError for latents and classes that this generator cannot take."""
        size, classes = self.network.latent_size, self.network.classes
        if rows.latents.ndim != 2 or rows.latents.shape[1] != size:
            raise InputError(f"Each latent of this model has {size} numbers.", where="latents")
        if not torch.isfinite(rows.latents).all():
            raise InputError("Latents must be finite numbers.", where="latents")
        if classes and rows.classes is None:
            raise InputError(f"This model needs a class, 0 to {len(classes) - 1}.", where="class")
        if not classes and rows.classes is not None:
            raise InputError("This model has no classes; leave the class out.", where="class")
        if rows.classes is not None and not ((rows.classes >= 0) & (rows.classes < len(classes))).all():
            raise InputError(f"Classes of this model are 0 to {len(classes) - 1}.", where="class")


@dataclass(frozen=True, eq=False)
class Translator:
    """A pair of translators in service."""

    network: models.Translator
    batcher: Batcher[Pixels, Pixels]

    async def image(self, pixels: Pixels, direction: Direction, tag: object = None) -> Pixels:
        """uint8 [h, w, 3] -> uint8 [h, w, 3] of the other domain, in one piece."""
        height, width = pixels.shape[:2]
        size = -(-height * width // TILE_PIXELS)
        return await self.batcher.submit((direction, height, width), pixels, size, tag)


async def _all(futures: "Sequence[asyncio.Future[Pixels]]") -> list[Pixels]:
    """All results; the first failure, or leaving early, cancels what still waits."""
    try:
        return list(await asyncio.gather(*futures))
    finally:
        for future in futures:
            future.cancel()


class Engine:
    """Owns the device thread. `serve` puts a loaded checkpoint behind a batcher, warmed up and checked."""

    def __init__(self, settings: Settings, observe: Observer | None = None) -> None:
        self._settings = settings
        self._observe = observe
        self._device = torch.device(settings.device)
        self._executor = ThreadPoolExecutor(1, f"device-{settings.device}", self._enter_thread)

    def _enter_thread(self) -> None:
        torch.set_num_threads(self._settings.threads)  # per thread, so it is set in the one that runs
        torch.inference_mode().__enter__()

    def close(self) -> None:
        """Finishes what runs; what waits is dropped."""
        self._executor.shutdown(cancel_futures=True)

    async def serve(self, name: str, network: models.Generator | models.Translator) -> Sampler | Translator:
        """Runs the network once, in the thread that will serve it, and checks the answer.

        Raises CheckpointError where it gives anything but finite numbers.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._executor, self._warm, network)
        if isinstance(network, models.Generator):
            return Sampler(network, self._batcher(name, _sample_with(network, self._device)))
        return Translator(network, self._batcher(name, _translate_with(network, self._device)))

    def _batcher(self, name: str, run: Callable[[Hashable, Sequence[Item]], Sequence[Pixels]]) -> Batcher[Item, Pixels]:
        observe = functools.partial(self._observe, name) if self._observe else None
        settings = self._settings
        return Batcher(run, self._executor, max_size=settings.max_batch, max_queue=settings.max_queue, observe=observe)

    def _warm(self, network: models.Generator | models.Translator) -> None:
        if isinstance(network, models.Generator):
            latents = torch.zeros(1, network.latent_size, device=self._device)
            classes = torch.zeros(1, dtype=torch.int64, device=self._device) if network.classes else None
            finite = bool(torch.isfinite(network(latents, classes)).all())
        else:
            image = torch.zeros(1, 3, 64, 64, device=self._device)
            finite = all(bool(torch.isfinite(module(image)).all()) for module in network.module.values())
        if not finite:
            raise CheckpointError("The network's output is not finite: its weights are broken.")


def _sample_with(
    network: models.Generator, device: torch.device
) -> Callable[[Hashable, Sequence[Latents]], list[Pixels]]:
    def run(_: Hashable, items: Sequence[Latents]) -> list[Pixels]:
        latents = torch.cat([item.latents for item in items]).to(device)
        classes = None
        if items[0].classes is not None:
            classes = torch.cat([item.classes for item in items if item.classes is not None]).to(device)
        pixels = models.to_uint8(network(latents, classes))
        ends = np.cumsum([len(item.latents) for item in items])
        return np.split(pixels, ends[:-1])

    return run


def _translate_with(
    network: models.Translator, device: torch.device
) -> Callable[[Hashable, Sequence[Pixels]], list[Pixels]]:
    def run(key: Hashable, items: Sequence[Pixels]) -> list[Pixels]:
        direction = key[0]  # type: ignore[index]
        images, size = models.pad_to_stride(models.to_float(np.stack(items)).to(device), network.stride, 8)
        return list(models.to_uint8(models.crop(network(images, direction), size)))

    return run

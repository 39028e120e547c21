"""The engine: networks behind batchers, in plain Python. It knows no HTTP, no files and no encodings.

Two threads run everything, one the generators and one the translators, so that a sample of milliseconds does not wait
for a photo of seconds. Each warms its models up and serves them, so that whatever torch sets up per thread is set up
where it is used. Pixels go in and come out as uint8 [h, w, c].
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch

import metrics
import models
from models.errors import CheckpointError, InputError
from models.images import Pixels
from service.batcher import Batcher, BatchReport
from service.network import in_fixed_batches, prepare, same_in_any_batch
from service.settings import Settings
from service.telemetry import ForwardTime, Telemetry, current_span
from service.translator import Forward, Translator, TranslatorRun

Item = TypeVar("Item", contravariant=True)
Result = TypeVar("Result", covariant=True)

_CHECK_IMAGES = 16  # rows that `same_in_any_batch` looks at


class Run(Protocol[Item, Result]):
    """What a batcher calls: items in, one result each; `forward_time` is of the last batch."""

    forward_time: ForwardTime

    def __call__(self, key: Hashable, items: Sequence[Item], /) -> Sequence[Result]: ...


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


@dataclass(frozen=True, eq=False)
class Sampler:
    """A generator in service."""

    network: models.Generator
    batcher: Batcher[Latents, Pixels]

    async def images(self, rows: Latents) -> Pixels:
        """Latents [n, latent] -> uint8 [n, h, w, c].

        Raises:
            InputError: the wrong length, not finite, classes missing or not wanted.
            OverloadError: the queue is full.
        """
        self.check(rows)
        parts = [(part, len(part.latents)) for part in rows.split(self.batcher.max_size)]
        futures = self.batcher.submit_all("sample", parts, current_span.get())
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


class Engine:
    """Owns the device's threads. `serve` puts a loaded checkpoint behind a batcher, warmed up and checked."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._device = torch.device(settings.device)
        self._samplers = ThreadPoolExecutor(1, f"sample-{settings.device}")
        self._translators = ThreadPoolExecutor(1, f"translate-{settings.device}")

    def close(self) -> None:
        """Finishes what runs; what waits is dropped."""
        for executor in (self._samplers, self._translators):
            executor.shutdown(cancel_futures=True)

    async def serve(self, name: str, network: models.Generator | models.Translator) -> Sampler | Translator:
        """Prepares the network, runs it in the thread that will serve it, and checks what it gives.

        Raises CheckpointError where that is anything but finite numbers.
        """
        loop = asyncio.get_running_loop()
        if isinstance(network, models.Generator):
            return await loop.run_in_executor(self._samplers, self._sampler, name, network)
        return await loop.run_in_executor(self._translators, self._translator, name, network)

    @torch.inference_mode()
    def _sampler(self, name: str, network: models.Generator) -> Sampler:
        torch.set_num_threads(self._settings.threads)
        network = prepare(network, self._settings.precision)
        count = min(_CHECK_IMAGES, self._settings.max_batch)
        rows = models.draw(list(range(count)), network.latent_size).to(self._device)
        classes = len(network.classes)

        def forward(latents: torch.Tensor) -> torch.Tensor:
            """Latents with the class weights beside them, so that padding and splitting treat both alike."""
            if not classes:
                return network.module(latents, None)
            return network.module(latents[:, :-classes], latents[:, -classes:].contiguous())

        if classes:
            weights = torch.eye(classes, device=self._device)[torch.arange(count) % classes]
            rows = torch.cat([rows, weights], dim=1)
        _check_finite(forward(rows))
        steady = forward if same_in_any_batch(forward, rows) else in_fixed_batches(forward)
        run = SamplerRun(steady, self._device, self._settings.threads)
        return Sampler(network, self._batcher(name, run, self._samplers))

    @torch.inference_mode()
    def _translator(self, name: str, network: models.Translator) -> Translator:
        settings = self._settings
        torch.set_num_threads(settings.translate_threads)
        noise = torch.Generator().manual_seed(0)
        images = torch.rand(3, network.config.channels, 64, 64, generator=noise).to(self._device) * 2 - 1
        compiled: dict[str, Forward] = {}
        if settings.translate_engine == "openvino":  # before `prepare`, which changes the layers for torch
            for direction, module in network.module.items():
                compiled[direction] = metrics.compile_openvino(module, images[:1], settings.precision, any_size=True)
        network = prepare(network, settings.precision)
        forward = compiled or dict(network.module.items())
        for one in forward.values():
            _check_finite(one(images))
        stacked = not compiled and all(same_in_any_batch(one, images) for one in forward.values())
        run = TranslatorRun(network, forward, self._device, stacked, settings.translate_threads)
        batcher = self._batcher(name, run, self._translators)
        return Translator(network, batcher, settings.tile, settings.tile_above_pixels)

    def _batcher(self, name: str, run: Run[Item, Result], executor: Executor) -> Batcher[Item, Result]:
        def observe(report: BatchReport) -> None:
            self._telemetry.saw_batch(name, report, run.forward_time)

        settings = self._settings
        return Batcher(run, executor, max_size=settings.max_batch, max_queue=settings.max_queue, observe=observe)


class SamplerRun:
    """One batch of a generator, on the generators' thread. `forward_time` is of the last batch."""

    def __init__(self, forward: Callable[[torch.Tensor], torch.Tensor], device: torch.device, threads: int) -> None:
        self._forward = forward
        self._device = device
        self._threads = threads
        self.forward_time = ForwardTime(0, 0)

    @torch.inference_mode()
    def __call__(self, _: Hashable, items: Sequence[Latents]) -> list[Pixels]:
        rows = torch.cat([item.latents for item in items])
        if items[0].classes is not None:
            rows = torch.cat([rows, torch.cat([item.classes for item in items if item.classes is not None])], dim=1)
        torch.set_num_threads(self._threads)  # per thread, so it is set in the one that runs
        started = time.time_ns()
        images = self._forward(rows.to(self._device))
        self.forward_time = ForwardTime(started, time.time_ns())
        pixels = models.to_uint8(images)
        return np.split(pixels, np.cumsum([len(item.latents) for item in items])[:-1])


def _check_finite(images: torch.Tensor) -> None:
    if not bool(torch.isfinite(images).all()):
        raise CheckpointError("The network's output is not finite: its weights are broken.")

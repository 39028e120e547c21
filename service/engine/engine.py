"""The engine: networks behind batchers, in plain Python. It knows no HTTP, no files and no encodings.

Two threads run everything, one the generators and one the translators, so that a sample of milliseconds does not wait
for a photo of seconds. Each warms its models up and serves them, so that whatever torch sets up per thread is set up
where it is used. Pixels go in and come out as uint8 [h, w, c].
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from functools import singledispatchmethod
from typing import Any, Protocol, TypeVar

import torch

import metrics
import models
from models.errors import CheckpointError
from service.engine.batcher import Batcher
from service.engine.prepare import in_fixed_batches, prepare, same_in_any_batch
from service.engine.sampler import Forwards, Sampler, SamplerRun
from service.engine.translator import BLOCK, Forward, Translator, TranslatorRun
from service.settings import Settings
from service.telemetry import BatchReport, ForwardTime, Telemetry

Item = TypeVar("Item", contravariant=True)

_CHECK_IMAGES = 16  # rows that `same_in_any_batch` looks at


class Run(Protocol[Item]):
    """What a batcher calls: items in, one result each; `forward_time` is of the last batch."""

    forward_time: ForwardTime

    def __call__(self, key: Any, items: Sequence[Item], /) -> Sequence[Any]: ...


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

    async def serve(self, name: str, network: models.Model) -> Sampler | Translator:
        """Prepares the network, runs it in the thread that will serve it, and checks what it gives.

        Raises CheckpointError where that is anything but finite numbers.
        """
        return await self._served(network, name)

    @singledispatchmethod
    async def _served(self, network: models.Model, name: str) -> Sampler | Translator:
        raise CheckpointError(f"No endpoint serves a model that {network.DOES}.")

    @_served.register
    async def _serve_generator(self, network: models.Generator, name: str) -> Sampler:
        loop = asyncio.get_running_loop()
        if not network.latent_directions:  # beside the thread that serves; `prepare` changes the layers
            network = replace(network, latent_directions=await asyncio.to_thread(models.sefa, network))
        return await loop.run_in_executor(self._samplers, self._sampler, name, network)

    @_served.register
    async def _serve_translator(self, network: models.Translator, name: str) -> Translator:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._translators, self._translator, name, network)

    @torch.inference_mode()
    def _sampler(self, name: str, network: models.Generator) -> Sampler:
        torch.set_num_threads(self._settings.threads)
        network = prepare(network, self._settings.precision)
        count = min(_CHECK_IMAGES, self._settings.max_batch)
        latents = models.draw(list(range(count)), network.latent_size).to(self._device)
        if isinstance(network, models.Autoencoder):
            points = {"z": latents, "w": network.parts["mapping"](latents)}
            images = network.draw(points["w"], "w", self._weights(network, count))
            mapping, encoder = network.parts["mapping"], network.parts["encoder"]
            forwards = Forwards(
                {space: self._drawing(network, space, points[space]) for space in network.spaces},
                _steady(mapping, latents),
                _steady(encoder, images),
            )
        else:
            points = {"z": latents}
            forwards = Forwards({"z": self._drawing(network, "z", latents)})
        started = time.perf_counter()
        rows = self._beside(network, latents)
        forwards.draw["z"](rows).sum().item()  # which waits for a device that works ahead
        seconds = (time.perf_counter() - started) / len(rows)
        run = SamplerRun(forwards, self._device, self._settings.threads)
        return Sampler(network, self._batcher(name, run, self._samplers, seconds))

    def _drawing(self, network: models.Generator, space: models.Space, points: torch.Tensor) -> Forward:
        """What draws points of a space that have their class weights beside them."""
        classes = len(network.classes)

        def draw(rows: torch.Tensor) -> torch.Tensor:
            if not classes:
                return network.draw(rows, space)
            return network.draw(rows[:, :-classes], space, rows[:, -classes:].contiguous())

        return _steady(draw, self._beside(network, points))

    def _beside(self, network: models.Generator, points: torch.Tensor) -> torch.Tensor:
        weights = self._weights(network, len(points))
        return points if weights is None else torch.cat([points, weights], dim=1)

    def _weights(self, network: models.Generator, count: int) -> torch.Tensor | None:
        """The classes in turn."""
        classes = len(network.classes)
        return torch.eye(classes, device=self._device)[torch.arange(count) % classes] if classes else None

    @torch.inference_mode()
    def _translator(self, name: str, network: models.Translator) -> Translator:
        settings = self._settings
        torch.set_num_threads(settings.translate_threads)
        noise = torch.Generator().manual_seed(0)
        side = max(64, network.minimum_size)
        images = torch.rand(3, network.channels, side, side, generator=noise).to(self._device) * 2 - 1
        if network.attends:  # the mask leaves the network beside the painting, and is laid over the photo in float32
            network = replace(network, parts={name: models.Unblended(part) for name, part in network.parts.items()})
        compiled: dict[str, Forward] = {}
        if settings.translate_engine == "openvino":  # before `prepare`, which changes the layers for torch
            for direction, module in network.parts.items():
                compiled[direction] = metrics.compile_openvino(module, images[:1], settings.precision, any_size=True)
        network = prepare(network, settings.precision)
        forward = compiled or network.parts
        for one in forward.values():
            _check_finite(one(images))
        stacked = not compiled and all(same_in_any_batch(one, images) for one in forward.values())
        started = time.perf_counter()
        for one in forward.values():
            one(images).sum().item()  # which waits for a device that works ahead
        seconds = (time.perf_counter() - started) / (len(forward) * len(images) * -(-side * side // BLOCK))
        run = TranslatorRun(network, forward, self._device, stacked, settings.translate_threads)
        batcher = self._batcher(name, run, self._translators, seconds)
        return Translator(network, batcher, settings.tile, settings.tile_above_pixels)

    def _batcher(self, name: str, run: Run[Item], executor: Executor, seconds: float) -> Batcher[Item]:
        def observe(report: BatchReport) -> None:
            self._telemetry.saw_batch(name, report, run.forward_time)

        settings = self._settings
        size, queue = settings.max_batch, settings.max_queue
        within = settings.deadline_s
        return Batcher(run, executor, max_size=size, max_queue=queue, within_s=within, seconds=seconds, observe=observe)


def _steady(forward: Forward, rows: torch.Tensor) -> Forward:
    """The same floats for a row in any batch. Raises CheckpointError where they are not finite."""
    _check_finite(forward(rows))
    return forward if same_in_any_batch(forward, rows) else in_fixed_batches(forward)


def _check_finite(images: torch.Tensor) -> None:
    if not bool(torch.isfinite(images).all()):
        raise CheckpointError("The network's output is not finite: its weights are broken.")

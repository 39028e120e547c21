"""Everything that the endpoints share, made once from the settings. Plain Python: it can be had without a server."""

import asyncio
import contextlib
import functools
import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from opentelemetry.sdk.trace import TracerProvider

import metrics
from models.images import Pixels
from service import memory
from service.call import Call
from service.directions.kept import Directions
from service.encoding import manifests
from service.encoding.budget import Budget
from service.encoding.shares import SharedThreads
from service.encoding.writer import Writer
from service.engine.engine import Engine
from service.jobs.callbacks import Callbacks
from service.jobs.jobs import Jobs
from service.rates import Rates
from service.registry.gate import Gate
from service.registry.mirror import Mirror
from service.registry.registry import Registry
from service.scoring.baselines import ModelReferences
from service.scoring.drift import Drift
from service.scoring.extractors import Extractors
from service.scoring.references import References
from service.scoring.worker import (
    Worker,
    keep_to_the_background,
    local_perceptual_distance,
    scorer,
)
from service.settings import Settings
from service.storage import check_store, open_store
from service.telemetry import Telemetry

Item = TypeVar("Item")
Result = TypeVar("Result")

_SLICE_S = 0.02  # of one request, on a thread that others wait for

# `sys.setswitchinterval`: how long a thread that wants Python's global interpreter lock waits before the thread that
# has it must hand it over. A network takes the lock anew for every layer, so with Python's own 5 ms a busy event loop
# can cost it 5 ms a layer. 32 clients on two cores got 403 images/s at 5 ms, 486 at 0.5 ms and 556 at 0.05 ms; on two
# other cores 728 at 0.01 ms. Linux adds its timer slack of 50 us to every such wait: without it those 728 became 760.
_SWITCH_S = 0.00001
_TIMER_SLACK = Path("/proc/self/timerslack_ns")


class Runtime:
    """Engine, registry and what else outlives a request.

    Attributes:
        telemetry: metrics and spans.
        extractors: what looks at images for a score, by name.
        scorer: the thread that scores.
        inverter: the thread that looks for the latents of photos.
        perceptual: makes the perceptual distance, once; None where its weights are not at hand.
        decoded: the pixels that decoded photos may have at once.
        writer: makes files of pictures.
        verifier: reads what others signed.

    Args:
        extractor: what to score with in place of the Inception.
        tracer_provider: where spans go, in place of what the environment says.
    """

    def __init__(
        self,
        settings: Settings,
        extractor: metrics.Extractor | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        self.settings = settings
        self.telemetry = Telemetry(tracer_provider)
        self.engine = Engine(settings, self.telemetry)
        self.store = open_store(settings.store, settings.store_links)
        self.references = References(self.store, settings.references)
        self.directions = Directions(self.store, settings.directions)
        self.jobs = Jobs(
            self.store,
            settings.jobs,
            self.telemetry,
            work=settings.job_worker,
            max_waiting=settings.job_queue,
            keep_s=settings.job_keep_h * 3600,
            dead_s=settings.job_dead_s,
            followers=settings.job_followers,
            followers_per_caller=settings.job_followers_per_caller,
            callbacks=Callbacks.parse(settings.webhook_hosts, settings.webhook_secrets),
        )
        self.rates = Rates(settings.rate_per_minute, settings.rates)
        self.scorer = scorer(settings)
        self.extractors = Extractors(settings, extractor)
        self.inverter = Worker("invert", keep_to_the_background)
        self.perceptual = functools.cache(lambda: local_perceptual_distance(settings))
        self._model_references = ModelReferences(self.references, settings.model_references)
        self.drift = self._new_drift() if settings.drift != "off" else None
        self.gate = self._new_gate(settings.gate_fid_margin) if settings.gate_fid_margin is not None else None
        self.registry = Registry(settings, self.engine, self.telemetry, self.gate)
        self.mirror = _mirror(settings)
        self.decoded = Budget(settings.decoded_pixels)
        self.writer = Writer(manifests.signer(settings))
        self.verifier = manifests.Verifier(settings.c2pa_anchors)
        self._pool = SharedThreads(settings.encode_threads, "encode")
        self._jobs_pool = ThreadPoolExecutor(1, "encode-jobs", keep_to_the_background)
        self._tasks: set[asyncio.Task[None]] = set()

    def _new_drift(self) -> Drift:
        return Drift(
            "kid" if self.settings.drift == "kid" else "fid",
            self._model_references,
            self.extractors.inception,
            self.telemetry.registry,
            per_minute=self.settings.drift_per_minute,
            window=self.settings.drift_window,
        )

    def _new_gate(self, margin: float) -> Gate:
        return Gate(self.settings, margin, self._model_references, self.store, self.extractors.inception)

    def served(self, endpoint: str, model: str, images: Pixels | Sequence[Pixels], drift: str | None = None) -> None:
        """Takes note of images that were made: counts them and, under the name `drift`, offers them for a look."""
        self.telemetry.images.labels(model, endpoint).inc(len(images))
        if self.drift is not None and drift is not None:
            self.drift.offer(drift, images)

    async def start(self) -> None:
        """Returns soon; the models are loaded and warmed in the background, and `ready` says when they are.

        Raises ValueError where the store, the queue of jobs or Redis cannot be used.
        """
        await check_store(self.store, self.settings.store)
        await self.jobs.connect()
        await self.rates.connect()
        if self.mirror is not None:
            await self.mirror.check()
        hand_over_soon()
        memory.take_images_whole()
        if self.drift is not None:
            self.drift.start()
        self._tasks |= {asyncio.create_task(self._load_and_watch()), asyncio.create_task(memory.give_back())}

    async def _load_and_watch(self) -> None:
        if self.mirror is not None:
            await self.mirror.update()
            self._tasks.add(asyncio.create_task(self.mirror.watch()))
        await self.registry.refresh()
        gc.collect()
        gc.freeze()  # a quarter of a million objects of torch's need no further look: pauses of 200 ms otherwise
        await self.jobs.start()  # only now, because a job that is taken up again may need its model
        await self.registry.watch()

    async def stop(self) -> None:
        """Stops watching, finishes what is being run; jobs go back to the store."""
        await self.jobs.stop()
        await self.rates.close()
        for worker in (self.scorer, self.inverter):
            await asyncio.to_thread(worker.close)
        if self.drift is not None:
            await self.drift.close()
        if self.gate is not None:
            await self.gate.close()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.to_thread(self._pool.close)
        await asyncio.to_thread(self._jobs_pool.shutdown, cancel_futures=True)
        await asyncio.to_thread(self.engine.close)
        await asyncio.to_thread(self.telemetry.close)

    async def beside_the_loop(self, call: Call, function: Callable[..., Result], *arguments: object) -> Result:
        """Runs work on pixels or files on a thread: a request's, or that of running jobs, which nobody waits for."""
        if call.progress is not None:
            return await asyncio.get_running_loop().run_in_executor(self._jobs_pool, function, *arguments)
        return await self._pool.run(call.caller, function, *arguments)

    async def each(self, call: Call, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """`function` of each item, on such a thread, in turns with others of a slice of time each.

        So a request of many large images holds up none of one small image, and one whose client left, or whose
        deadline is over, ends with its slice.
        """
        left, results = iter(items), list[Result]()
        while len(results) < len(items):
            results += await self.beside_the_loop(call, _for_a_slice, function, left)
        return results

    def most_pixels(self, call: Call) -> int:
        """Of one photo: a job, which has no deadline, takes larger ones."""
        return self.settings.job_translate_pixels if call.is_job else self.settings.translate_pixels

    def most_clip_pixels(self, call: Call) -> int:
        """Of all frames of a clip."""
        return self.settings.job_clip_pixels if call.is_job else self.settings.clip_pixels

    @property
    def ready(self) -> bool:
        """True when every model that can be loaded is, and warm."""
        return self.registry.ready


def _for_a_slice(function: Callable[[Item], Result], items: Iterator[Item]) -> list[Result]:
    end, results = time.perf_counter() + _SLICE_S, []
    for item in items:
        results.append(function(item))
        if time.perf_counter() >= end:
            break
    return results


async def check_places(settings: Settings) -> None:
    """Raises ValueError, with a sentence for the operator, where something that the settings name cannot be used.

    That is the store, the queue of jobs and who is told of them, the Redis of the rates, and the certificates.
    """
    manifests.signer(settings)
    manifests.Verifier(settings.c2pa_anchors)
    Callbacks.parse(settings.webhook_hosts, settings.webhook_secrets)
    store = open_store(settings.store)
    await check_store(store, settings.store)
    jobs = Jobs(store, settings.jobs, dead_s=settings.job_dead_s)
    await jobs.connect()
    await jobs.stop()
    rates = Rates(settings.rate_per_minute, settings.rates)
    await rates.connect()
    await rates.close()
    if (mirror := _mirror(settings)) is not None:
        await mirror.check()


def _mirror(settings: Settings) -> Mirror | None:
    where = settings.model_bucket
    return None if where is None else Mirror(where, settings.model_cache, settings.model_bucket_s)


def hand_over_soon() -> None:
    """Has threads that want the interpreter wait for it as briefly as can be: this one and those it starts from now on.

    Linux lets a thread wake late by its timer slack, which it inherits; other systems have no such file.
    """
    sys.setswitchinterval(_SWITCH_S)
    with contextlib.suppress(OSError):
        _TIMER_SLACK.write_text("1")

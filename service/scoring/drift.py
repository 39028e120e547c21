"""Drift: a running FID or KID of what is served against a kept reference, as a Prometheus metric. Off by default.

    gan_drift{model,reference,metric}    the last value          gan_drift_images{model}    how many images are in it

The reference is the model's of baselines.py; without one, keep the training set under the model's name (POST
/v1/references). The value is of the last `window` images that were looked at. It depends on their number, as every FID
does, so watch it move and do not compare it with papers; and on what clients ask for, since truncation and classes
shift it too.

Serving does not wait for any of this. Of all that is served, an image is taken every so often, put into a short queue
or, where that is full, dropped. A thread of the lowest priority does the rest.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from prometheus_client import CollectorRegistry, Gauge

import metrics
from metrics import FeatureSet
from models.errors import GanError, NotFoundError
from models.images import Pixels
from service.call import Progress
from service.scoring.baselines import ModelReferences
from service.scoring.worker import Worker, keep_to_the_background

_log = logging.getLogger("gan")
_QUEUE = 64
_STEPS = 8  # values within the time that fills the window
_KID_ROWS = 2000  # of the reference; the full product would take minutes


@dataclass
class _Watch:
    """What is known of one model: its reference, whose `stamp` tells when it changes, and what was served of late."""

    against: FeatureSet
    stamp: str
    window: deque[metrics.Features]
    fresh: int = 0


class Drift:
    """Watches served images; all of it on the event loop, but for the measuring, which has a thread of its own.

    Args:
        metric: "fid" or "kid".
        extractor: called once, on the thread.
        per_minute: images looked at.  window: images in a value.
    """

    def __init__(
        self,
        metric: Literal["fid", "kid"],
        references: ModelReferences,
        extractor: Callable[[], metrics.Extractor],
        registry: CollectorRegistry,
        *,
        per_minute: float,
        window: int,
    ) -> None:
        self._metric = metric
        self._references = references
        self._extractor = extractor
        self._interval_s = 60.0 / per_minute
        self._window = window
        self._next = 0.0
        self._queue: asyncio.Queue[tuple[str, Pixels]] = asyncio.Queue(_QUEUE)
        self._watches: dict[str, _Watch] = {}
        self._troubled: set[str] = set()
        self._worker = Worker("drift", keep_to_the_background)
        self._watching: asyncio.Task[None] | None = None
        labels = ["model", "reference", "metric"]
        text = "FID or KID of what is served, against its reference."
        self._value = Gauge("gan_drift", text, labels, registry=registry, multiprocess_mode="mostrecent")
        self._count = Gauge(
            "gan_drift_images", "Images in gan_drift.", ["model"], registry=registry, multiprocess_mode="mostrecent"
        )

    def start(self) -> None:
        """Begins to look at what is offered."""
        self._watching = asyncio.create_task(self._watch())

    def offer(self, model: str, images: Pixels | Sequence[Pixels]) -> None:
        """Takes one of the images, uint8 [h, w, c], when it is time again. Never waits, never raises."""
        now = time.monotonic()
        if now >= self._next and len(images):
            self._next = now + self._interval_s
            with contextlib.suppress(asyncio.QueueFull):
                self._queue.put_nowait((model, np.array(images[random.randrange(len(images))])))

    async def close(self) -> None:
        """Stops after the image that is being looked at."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait((self._watching,))
        await asyncio.to_thread(self._worker.close)

    async def settle(self) -> None:
        """Waits until everything that was taken has been looked at."""
        await self._queue.join()

    async def _watch(self) -> None:
        while True:
            model, picture = await self._queue.get()
            try:
                await self._look(model, picture)
            except Exception as error:
                self._complain(model, error)
            finally:
                self._queue.task_done()

    async def _look(self, model: str, picture: Pixels) -> None:
        watch = self._watches.get(model)
        due = watch is not None and watch.fresh + 1 >= max(self._window // _STEPS, 1)
        if watch is None or due:
            watch = await self._refreshed(model, watch)
        value = await self._worker.run(partial(self._measure, watch, picture, due))
        if value is not None:
            self._value.labels(model, self._references.name(model), self._metric).set(value)
            self._count.labels(model).set(len(watch.window))

    async def _refreshed(self, model: str, watch: _Watch | None) -> _Watch:
        """The same watch, or a new one where the reference is new or was replaced. Raises NotFoundError."""
        try:
            stamp = await self._references.stamp(model)
        except NotFoundError:
            self._watches.pop(model, None)
            raise
        if watch is None or stamp != watch.stamp:
            against = await self._references.load(model)
            watch = self._watches[model] = _Watch(against, stamp, deque(maxlen=self._window))
            self._troubled.discard(model)
        return watch

    def _measure(self, watch: _Watch, picture: Pixels, due: bool, report: Progress) -> float | None:
        """Takes the picture into the window; where one is due, the value of the window. On the worker's thread."""
        report(0, 1)
        protocol = metrics.PROTOCOLS[watch.against.statistics.protocol or "pytorch-fid"]
        rows = list(metrics.stream_features(metrics.open_images([picture]), self._extractor(), protocol, workers=1))
        watch.window.append(rows[0])
        watch.fresh += 1
        if not due or len(watch.window) < 2:
            return None
        watch.fresh = 0
        return self._compare(watch)

    def _compare(self, watch: _Watch) -> float:
        extractor = self._extractor()
        rows = np.concatenate(watch.window)
        accumulator = metrics.Accumulator(extractor.dimensions)
        accumulator.add(rows)
        statistics = accumulator.statistics(
            protocol=watch.against.statistics.protocol, extractor=extractor.name, precision=extractor.precision
        )
        served = FeatureSet("served", statistics, rows)
        if self._metric == "fid":
            return metrics.frechet_distance(served.statistics, watch.against.statistics)
        if watch.against.features is None:
            raise NotFoundError("KID needs a reference with features: keep the images, not an .npz of statistics.")
        some = np.random.default_rng(0).permutation(len(watch.against.features))[:_KID_ROWS]
        return float(metrics.kid(rows, watch.against.features[some], subsets=1)["value"])

    def _complain(self, model: str, error: Exception) -> None:
        """Once for each model and reference: drift must not fill the logs."""
        if model not in self._troubled:
            self._troubled.add(model)
            reason = str(error) if isinstance(error, GanError) else repr(error)
            _log.warning("drift of %s is not measured: %s", model, reason)

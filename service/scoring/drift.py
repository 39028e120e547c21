"""Drift: a running FID or KID of what is served against a kept reference, as a Prometheus metric. Off by default.

    gan_drift{model,reference,metric}    the last value          gan_drift_images{model}    how many images are in it

The reference is the model's of model_references.py; without one, keep the training set under the model's name (POST
/v1/references). The value is of the last `window` images that
were looked at. It depends on their number, as every FID does, so watch it move and do not compare it with papers; and
on what clients ask for, since truncation and classes shift it too.

Serving does not wait for any of this. Of all that is served, an image is taken every so often, put into a short queue
or, where that is full, dropped. A thread of the lowest priority does the rest.
"""

import asyncio
import contextlib
import logging
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from prometheus_client import CollectorRegistry, Gauge

import metrics
from metrics import FeatureSet
from models.errors import GanError, NotFoundError
from models.images import Pixels
from service.scoring.baselines import ModelReferences
from service.scoring.worker import keep_to_the_background

_log = logging.getLogger("gan")
_QUEUE = 64
_STEPS = 8  # values within the time that fills the window
_KID_ROWS = 2000  # of the reference; the full product would take minutes


@dataclass
class _Watch:
    """What is known of one model. `stamp` is of the reference in `against`."""

    window: deque[metrics.Features]
    against: FeatureSet | None = None
    stamp: str = ""
    fresh: int = 0
    troubled: bool = field(default=False)


class Drift:
    """Watches served images. `offer` is for the event loop; the rest happens on a thread of its own.

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
        self._queue: queue.Queue[tuple[str, Pixels] | None] = queue.Queue(_QUEUE)
        self._watches: dict[str, _Watch] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._watch, name="drift", daemon=True)
        self._closing = threading.Event()
        labels = ["model", "reference", "metric"]
        text = "FID or KID of what is served, against its reference."
        self._value = Gauge("gan_drift", text, labels, registry=registry, multiprocess_mode="mostrecent")
        self._count = Gauge(
            "gan_drift_images", "Images in gan_drift.", ["model"], registry=registry, multiprocess_mode="mostrecent"
        )

    def start(self) -> None:
        """Call on the event loop that the references live on."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def offer(self, model: str, images: Pixels | Sequence[Pixels]) -> None:
        """Takes one of the images, uint8 [h, w, c], when it is time again. Never waits, never raises."""
        now = time.monotonic()
        if now >= self._next and len(images):
            self._next = now + self._interval_s
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait((model, np.array(images[random.randrange(len(images))])))

    def close(self) -> None:
        """Stops the thread after the image that it is looking at. Not on the event loop."""
        self._closing.set()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)  # wakes it
        if self._thread.is_alive():
            self._thread.join()

    def settle(self) -> None:
        """Waits until everything that was taken has been looked at. Not on the event loop."""
        self._queue.join()

    def _watch(self) -> None:
        keep_to_the_background()
        while not self._closing.is_set():
            taken = self._queue.get()
            try:
                if taken is not None:
                    self._look(*taken)
            except Exception as error:
                self._complain(taken[0] if taken else "", error)
            finally:
                self._queue.task_done()

    def _look(self, model: str, picture: Pixels) -> None:
        watch = self._watches.setdefault(model, _Watch(deque(maxlen=self._window)))
        name = self._references.name(model)
        due = watch.fresh + 1 >= max(self._window // _STEPS, 1)
        if due or watch.against is None:
            self._refresh(watch, model)
        assert watch.against is not None
        protocol = metrics.PROTOCOLS[watch.against.statistics.protocol or "pytorch-fid"]
        rows = list(metrics.stream_features(metrics.open_images([picture]), self._extractor(), protocol, workers=1))
        watch.window.append(rows[0])
        watch.fresh += 1
        if due and len(watch.window) > 1:
            watch.fresh = 0
            value = self._compare(watch)  # before its label is made, which would say 0
            self._value.labels(model, name, self._metric).set(value)
            self._count.labels(model).set(len(watch.window))

    def _refresh(self, watch: _Watch, model: str) -> None:
        """Reads the reference where it is new or was replaced. Raises NotFoundError."""
        assert self._loop is not None
        try:
            stamp = asyncio.run_coroutine_threadsafe(self._references.stamp(model), self._loop).result()
        except NotFoundError:
            watch.against = None
            raise
        if watch.against is None or stamp != watch.stamp:
            watch.against = asyncio.run_coroutine_threadsafe(self._references.load(model), self._loop).result()
            watch.stamp = stamp
            watch.window.clear()  # the protocol may be another
            watch.troubled = False

    def _compare(self, watch: _Watch) -> float:
        assert watch.against is not None
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
        watch = self._watches.get(model)
        if watch is None or not watch.troubled:
            reason = str(error) if isinstance(error, GanError) else repr(error)
            _log.warning("drift of %s is not measured: %s", model, reason)
        if watch is not None:
            watch.troubled = True

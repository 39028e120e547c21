"""Drift: what is served, measured against a reference on a thread of its own; off unless asked for."""

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import requests
from prometheus_client import CollectorRegistry

import metrics
from models.images import Pixels
from service.scoring.baselines import ModelReferences
from service.scoring.drift import Drift
from service.scoring.references import References
from service.storage import FolderStore


def pictures(count: int, level: int, seed: int = 0) -> Pixels:
    noise = np.random.default_rng(seed).integers(0, 40, (count, 8, 8, 3))
    return (noise + level).astype(np.uint8)


class Bench:
    """References, a registry and a drift over them."""

    def __init__(self, folder: Path, extractor: metrics.Extractor) -> None:
        self.references = References(FolderStore(folder), 5)
        self.registry = CollectorRegistry()
        self.extractor = extractor

    async def keep(self, name: str, images: Pixels) -> metrics.FeatureSet:
        kept = metrics.features(images, extractor=self.extractor)
        await self.references.add(name, kept, "files")
        return kept

    def drift(self, metric: Literal["fid", "kid"] = "fid", **options: Any) -> Drift:
        named = options.pop("named", {})
        settings = {"per_minute": 1e12, "window": 16, **options}
        against = ModelReferences(self.references, named)
        return Drift(metric, against, lambda: self.extractor, self.registry, **settings)

    def value(self, model: str, reference: str, metric: str = "fid") -> float | None:
        return self.registry.get_sample_value("gan_drift", {"model": model, "reference": reference, "metric": metric})


@pytest.fixture
def bench(tmp_path: Path, mean_colours: metrics.Extractor) -> Bench:
    return Bench(tmp_path, mean_colours)


def running(drift: Drift, body: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    async def main() -> None:
        drift.start()
        try:
            await body()
        finally:
            await drift.close()

    return main


async def show(drift: Drift, model: str, images: Pixels) -> None:
    """One image at a time, so that each of them is looked at."""
    for image in images:
        drift.offer(model, image[None])
        await drift.settle()


def test_the_value_is_the_library_s_and_moves_with_what_is_served(bench: Bench) -> None:
    alike, brighter = pictures(16, 60, 1), pictures(16, 200, 2)
    drift = bench.drift(named={"tiny": "train"})

    async def body() -> None:
        kept = await bench.keep("train", pictures(64, 60))
        await show(drift, "tiny", alike)
        expected = metrics.score(alike, kept, extractor=bench.extractor, bootstrap=0)["fid"]["value"]
        first = bench.value("tiny", "train")
        assert first == pytest.approx(expected, rel=1e-6)
        assert bench.registry.get_sample_value("gan_drift_images", {"model": "tiny"}) == 16
        await show(drift, "tiny", brighter)  # the window forgets what came before
        expected = metrics.score(brighter, kept, extractor=bench.extractor, bootstrap=0)["fid"]["value"]
        assert bench.value("tiny", "train") == pytest.approx(expected, rel=1e-6)
        assert expected > 10 * first

    asyncio.run(running(drift, body)())


def test_kid_needs_a_reference_with_features(bench: Bench) -> None:
    alike = pictures(16, 60, 1)
    drift = bench.drift("kid")

    async def body() -> None:
        kept = await bench.keep("tiny", pictures(64, 60))  # the model's own name
        await show(drift, "tiny", alike)
        expected = metrics.score(alike, kept, metrics=["kid"], extractor=bench.extractor, bootstrap=0)
        assert bench.value("tiny", "tiny", "kid") == pytest.approx(expected["kid"]["value"], rel=1e-6)
        statistics = metrics.FeatureSet("flat", dataclasses.replace(kept.statistics))
        await bench.references.add("flat", statistics, "statistics")
        await show(drift, "flat", alike)
        assert bench.value("flat", "flat", "kid") is None

    asyncio.run(running(drift, body)())


def test_without_a_reference_it_says_so_once_and_begins_when_there_is_one(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    drift = bench.drift()

    async def body() -> None:
        await show(drift, "tiny", pictures(8, 60))
        complaints = [record for record in caplog.records if "drift of tiny is not measured" in record.message]
        assert len(complaints) == 1
        assert "There is no reference tiny" in complaints[0].message
        await bench.keep("tiny", pictures(64, 60))
        await show(drift, "tiny", pictures(16, 60, 1))
        assert bench.value("tiny", "tiny") is not None

    asyncio.run(running(drift, body)())


def test_a_replaced_reference_is_taken_up(bench: Bench) -> None:
    drift = bench.drift()
    served = pictures(16, 60, 1)

    async def body() -> None:
        await bench.keep("tiny", pictures(64, 60))
        await show(drift, "tiny", served)
        near = bench.value("tiny", "tiny")
        await bench.references.delete("tiny")
        await bench.keep("tiny", pictures(64, 200))
        await show(drift, "tiny", served[:3])  # the first is looked at before the new reference is
        assert bench.registry.get_sample_value("gan_drift_images", {"model": "tiny"}) == 2
        far = bench.value("tiny", "tiny")
        assert near is not None
        assert far is not None
        assert far > 10 * near

    asyncio.run(running(drift, body)())


def test_offers_come_back_at_once_whatever_the_thread_does(bench: Bench) -> None:
    """A thread that is stuck costs serving nothing: the queue fills, then images are dropped."""
    stuck = asyncio.Event()

    async def body() -> None:
        for _ in range(1000):
            drift.offer("tiny", pictures(1, 60))
        assert drift._queue.qsize() <= 64
        stuck.set()

    drift = bench.drift()
    asyncio.run(body())  # never started: nobody takes anything out
    assert stuck.is_set()


def test_any_image_of_a_batch_may_be_taken(bench: Bench) -> None:
    drift = bench.drift()
    batch = np.arange(8, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    for _ in range(60):
        drift.offer("tiny", batch)
    taken = {int(drift._queue.get_nowait()[1][0, 0, 0]) for _ in range(drift._queue.qsize())}
    assert len(taken) > 3  # all of one kind: less than once in 10^40


def test_images_are_taken_at_the_stated_rate(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    drift = bench.drift(per_minute=30.0)
    for _ in range(100):
        drift.offer("tiny", pictures(4, 60))
        now += 0.1
    assert drift._queue.qsize() == 5  # ten seconds at one in two seconds


def test_a_service_publishes_it_when_asked_to(serve: Callable[..., Any], mean_colours: metrics.Extractor) -> None:
    quiet = serve(mean_colours)
    assert quiet.runtime.drift is None
    assert "gan_drift" not in requests.get(f"{quiet.url}/metrics", timeout=300).text

    loud = serve(mean_colours, drift="fid", drift_window=16, drift_per_minute=6000, model_references={"tiny": "train"})
    train = requests.post(f"{loud.url}/v1/sample", json={"model": "tiny", "n": 64, "output": "zip"}, timeout=300)
    files = {"images": ("train.zip", train.content)}
    assert requests.post(f"{loud.url}/v1/references", data={"name": "train"}, files=files, timeout=300).ok
    end = time.monotonic() + 300
    while 'gan_drift{metric="fid",model="tiny",reference="train"}' not in (
        text := requests.get(f"{loud.url}/metrics", timeout=300).text
    ):
        assert time.monotonic() < end, text
        assert requests.post(f"{loud.url}/v1/sample", json={"model": "tiny"}, timeout=300).status_code == 200


def test_a_file_of_statistics_is_a_reference_too(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "train.npz"
    kept = metrics.statistics(pictures(64, 60), extractor=bench.extractor)
    kept.save(path)
    drift = bench.drift(named={"tiny": str(path)})
    served = pictures(16, 60, 1)

    async def body() -> None:
        await show(drift, "tiny", served)
        expected = metrics.score(served, kept, extractor=bench.extractor, bootstrap=0)["fid"]["value"]
        assert bench.value("tiny", "train.npz") == pytest.approx(expected, rel=1e-6)

    asyncio.run(running(drift, body)())

"""The gate: a new version is measured beside the one in service, which goes on serving; only one no worse replaces it.

Mean colours stand in for the Inception; the oracle is `metrics.score` of what the versions draw.
"""

import asyncio
import dataclasses
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch

import metrics
import models
from models.errors import WeightsUnavailable
from service.engine.engine import Engine
from service.engine.sampler import Latents, Sampler
from service.registry.checkpoints import Served
from service.registry.gate import Gate
from service.registry.lease import Lease
from service.registry.registry import Registry
from service.registry.verdicts import recorded as recorded_fids
from service.scoring.baselines import ModelReferences
from service.scoring.references import References
from service.settings import Settings
from service.storage import FolderStore
from service.telemetry import Telemetry

Save = Callable[..., Path]
IMAGES = 32
SHIPPED = sorted((Path(__file__).parents[3] / "models" / "pretrained").glob("*.safetensors"))


class Bench:
    """A folder of models, a registry over it, and the gate between them."""

    def __init__(self, folder: Path, extractor: Callable[[], metrics.Extractor], margin: float, **settings: Any):
        (folder / "models").mkdir(exist_ok=True)
        self.folder = folder / "models"
        store = FolderStore(folder / "store")
        made = Settings(models=(self.folder,), gate_images=IMAGES, **settings)
        self.references = References(store, 5)
        named = ModelReferences(self.references, made.model_references)
        telemetry = Telemetry()
        self.engine = Engine(made, telemetry)
        self.gate = Gate(made, margin, named, store, extractor)
        self.registry = Registry(made, self.engine, telemetry, self.gate)

    def cats(self, version: str = "") -> Served:
        return self.registry.sampler(f"cats{version}")

    async def look(self) -> None:
        """Looks at the folder, and again until the gate has nothing left to measure."""
        await self.registry.refresh()
        while any(one.verdict and one.verdict.state == "measuring" for one in self.registry.refusals):
            await self.gate.ruled.wait()
            self.gate.ruled.clear()
            await self.registry.refresh()


@asynccontextmanager
async def bench(
    folder: Path, extractor: metrics.Extractor | Callable[[], metrics.Extractor], margin: float = 0.0, **settings: Any
) -> AsyncIterator[Bench]:
    one = Bench(folder, extractor if callable(extractor) else lambda: extractor, margin, **settings)
    yield one
    await one.gate.close()
    one.engine.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 500))  # type: ignore[arg-type]


def put(one: Bench, name: str, save: Save, **options: Any) -> Path:
    """Saves with a new stamp, whatever the clock's grain."""
    path = save(one.folder / f"{name}.safetensors", **options)
    put.count = getattr(put, "count", 0) + 1  # type: ignore[attr-defined]
    os.utime(path, ns=(put.count, put.count))  # type: ignore[attr-defined]
    return path


async def drawn(one: Served, seed: int, count: int = IMAGES) -> np.ndarray:
    assert isinstance(one.unit, Sampler)
    return await one.unit.images(Latents(models.draw(models.sample_seeds(seed, count), 8), None))


async def keep_what_it_draws(one: Bench, extractor: metrics.Extractor, name: str = "cats") -> metrics.FeatureSet:
    """The reference is of other images of the version in service, so that another network's are far from it."""
    kept = metrics.features(await drawn(one.cats(), 5000, 200), extractor=extractor)
    await one.references.add(name, kept, "files")
    return kept


def test_a_worse_version_is_measured_and_held(
    tmp_path: Path, save_sampler: Save, mean_colours: metrics.Extractor
) -> None:
    async def test() -> None:
        async with bench(tmp_path, mean_colours) as one:
            put(one, "cats@1", save_sampler, seed=1)
            await one.look()
            kept = await keep_what_it_draws(one, mean_colours)
            put(one, "cats@2", save_sampler, seed=2)
            await one.look()
            assert one.cats().version == "1"
            assert one.cats("@2").version == "2"  # by its own name it can be tried
            verdict = one.registry.verdict(one.cats("@2"))
            assert verdict is not None
            assert (verdict.state, verdict.candidate, verdict.against) == ("held", "cats@2", "cats@1")
            assert (verdict.images, verdict.done, verdict.reference) == (IMAGES, 2 * IMAGES, "cats")
            for fid, version in ((verdict.fid, "@2"), (verdict.fid_in_service, "@1")):
                expected = metrics.score(await drawn(one.cats(version), 0), kept, extractor=mean_colours, bootstrap=0)
                assert fid == pytest.approx(expected["fid"]["value"], rel=1e-6)
            (refusal,) = one.registry.refusals
            assert refusal.verdict is verdict
            assert f"{verdict.fid:.2f}" in refusal.reason
            assert f"{verdict.fid_in_service:.2f}" in refusal.reason
            assert one.registry.ready
            (one.folder / "cats@1.safetensors").unlink()
            await one.look()
            assert one.cats().version == "2"  # nothing is left that it is worse than
            assert not one.registry.refusals

    run(test)


def test_one_no_worse_is_put_into_service(tmp_path: Path, save_sampler: Save, mean_colours: metrics.Extractor) -> None:
    async def test() -> None:
        async with bench(tmp_path, mean_colours) as one:
            put(one, "cats@1", save_sampler, seed=1)
            await one.look()
            await keep_what_it_draws(one, mean_colours)
            put(one, "cats@2", save_sampler, seed=1, metrics={"note": "the same weights in another file"})
            await one.look()
            assert one.cats().version == "2"
            verdict = one.registry.verdict(one.cats())
            assert verdict is not None
            assert verdict.state == "passed"
            assert verdict.fid == verdict.fid_in_service
        async with bench(tmp_path, mean_colours, margin=1e9) as other:
            put(other, "cats@3", save_sampler, seed=3)
            await other.look()
            assert other.cats().version == "3"

    run(test)


def test_the_old_one_serves_while_the_new_one_is_measured(tmp_path: Path, save_sampler: Save, turnstile: Any) -> None:
    async def test() -> None:
        async with bench(tmp_path, turnstile) as one:
            turnstile.guards = "gate"
            put(one, "cats", save_sampler, seed=1)
            await one.look()
            old = one.cats()
            await keep_what_it_draws(one, turnstile)
            turnstile.reached.clear()
            put(one, "cats", save_sampler, seed=2)  # in the old one's place
            await one.registry.refresh()
            await asyncio.to_thread(turnstile.reached.wait, 300)
            await one.registry.refresh()
            assert one.cats() is old
            assert (await drawn(one.cats(), 0, 1)).shape == (1, 16, 16, 3)
            assert one.registry.refusals[0].verdict.state == "measuring"
            assert one.registry.verdict(old) is None
            turnstile.let_all()
            await one.look()
            assert one.cats() is old
            assert one.registry.refusals[0].verdict.state == "held"
            put(one, "cats", save_sampler, seed=1, metrics={"note": "as good as before"})
            await one.look()
            assert one.cats().digest not in (old.digest, None)
            assert one.registry.verdict(one.cats()).state == "passed"
            assert not one.registry.refusals

    run(test)


def test_what_was_measured_is_known_after_a_restart(tmp_path: Path, save_sampler: Save, turnstile: Any) -> None:
    async def test() -> None:
        turnstile.let_all()
        async with bench(tmp_path, turnstile) as one:
            put(one, "cats@1", save_sampler, seed=2)
            put(one, "cats@2", save_sampler, seed=1)
            await one.registry.refresh()
            kept = metrics.features(await drawn(one.cats("@2"), 5000, 200), extractor=turnstile)
            await one.references.add("cats", kept, "files")
        async with bench(tmp_path, turnstile, margin=0.0) as measured:
            await measured.look()
            assert measured.cats().version == "2"
        before = turnstile.batches
        async with bench(tmp_path, turnstile) as again:
            await again.registry.refresh()  # one look
            assert again.cats().version == "2"
            assert again.registry.verdict(again.cats()).fid is not None
        assert turnstile.batches == before

    run(test)


def test_a_candidate_that_is_taken_away_is_measured_no_further(
    tmp_path: Path, save_sampler: Save, turnstile: Any
) -> None:
    async def test() -> None:
        async with bench(tmp_path, turnstile) as one:
            turnstile.guards = "gate"
            put(one, "cats@1", save_sampler, seed=1)
            await one.look()
            await keep_what_it_draws(one, turnstile)
            turnstile.reached.clear()
            path = put(one, "cats@2", save_sampler, seed=2)
            await one.registry.refresh()
            await asyncio.to_thread(turnstile.reached.wait, 300)
            before = turnstile.batches
            path.unlink()
            await one.registry.refresh()
            assert not one.registry.refusals
            turnstile.let_all()
            await one.gate.close()
            assert turnstile.batches == before

    run(test)


def test_what_cannot_be_measured_is_held_and_says_why(
    tmp_path: Path, save_sampler: Save, mean_colours: metrics.Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = False

    def extractor() -> metrics.Extractor:
        if not fetched:
            raise WeightsUnavailable("Scores need the Inception weights.")
        return mean_colours

    async def test() -> None:
        nonlocal fetched
        named = {"cats": str(tmp_path / "cats.npz")}
        async with bench(tmp_path, extractor, margin=1e9, model_references=named) as one:
            put(one, "cats@1", save_sampler, seed=1)
            put(one, "cats@2", save_sampler, seed=2)
            with monkeypatch.context() as patch:
                patch.setattr("service.registry.gate._RETRY_S", 0.0)
                await one.registry.refresh()
            assert one.cats().version == "1"
            assert "There is no statistics file" in one.registry.refusals[0].reason
            metrics.statistics(await drawn(one.cats(), 0), extractor=mean_colours).save(tmp_path / "cats.npz")
            await one.look()
            assert "Scores need the Inception weights." in one.registry.refusals[0].reason
            fetched = True
            await one.look()
            assert one.cats().version == "1"  # it is not tried again at once
            one.gate.drop_all_but(set())
            await one.look()
            assert one.cats().version == "2"
            assert one.registry.verdict(one.cats()).reference == "cats.npz"

    run(test)


def test_a_damaged_reference_holds_its_model_and_no_other(
    tmp_path: Path, save_sampler: Save, mean_colours: metrics.Extractor
) -> None:
    async def test() -> None:
        async with bench(tmp_path, mean_colours) as one:
            await FolderStore(tmp_path / "store").put("references", "cats.json", b"{}")
            for version in ("1", "2"):
                put(one, f"cats@{version}", save_sampler, seed=int(version))
                put(one, f"dogs@{version}", save_sampler, seed=int(version))  # the same files
            await one.registry.refresh()
            assert one.registry.ready
            assert (one.cats().version, one.registry.sampler("dogs").version) == ("1", "2")
            (refused,) = one.registry.refusals
            assert "could not be measured" in refused.reason

    run(test)


def recorded(value: float, **other: Any) -> dict[str, Any]:
    return {"fid": {"value": value, "protocol": "pytorch-fid", "reference": "cifar10"} | other}


@pytest.mark.parametrize(
    ("metadata", "served", "reason"),
    [
        (recorded(24.0), "2", None),
        (recorded(25.9), "2", None),
        (recorded(26.1), "1", "26.10"),
        (recorded(20.0, protocol="clean-fid"), "1", "another protocol"),
        (recorded(20.0, images=60), "1", "another number of images (60, not None)"),
        ({}, "1", "records no FID"),
        ({"fid": 20.0}, "1", "records no FID"),
    ],
)
def test_without_a_reference_the_files_own_figures_are_compared(
    tmp_path: Path,
    save_sampler: Save,
    mean_colours: metrics.Extractor,
    metadata: dict[str, Any],
    served: str,
    reason: str | None,
) -> None:
    async def test() -> None:
        async with bench(tmp_path, mean_colours, margin=1.0) as one:
            put(one, "cats@1", save_sampler, metrics=recorded(25.0))
            put(one, "cats@2", save_sampler, seed=2, metrics=metadata)
            await one.registry.refresh()
            assert one.cats().version == served
            assert [reason in refusal.reason for refusal in one.registry.refusals if reason] == (
                [True] if reason else []
            )
            assert one.registry.verdict(one.cats("@2")).images is None

    run(test)


@dataclasses.dataclass
class Counting:
    """Mean colours that count their batches."""

    inner: metrics.Extractor
    batches: int = 0
    name, side, dimensions, precision, batch_size = "counting", 299, 12, "float32", 4

    def features(self, images: torch.Tensor) -> Any:
        self.batches += 1
        return self.inner.features(images)

    def logits(self, features: Any) -> Any:
        raise WeightsUnavailable("Inception Score needs the classifier.")


def test_of_two_replicas_one_measures_and_both_know(
    tmp_path: Path, save_sampler: Save, mean_colours: metrics.Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.registry.gate._LOOK_S", 0.01)

    async def test() -> None:
        counting = Counting(mean_colours)
        async with bench(tmp_path, counting) as one, bench(tmp_path, counting) as two:
            put(one, "cats@1", save_sampler, seed=1)
            await asyncio.gather(one.look(), two.look())
            await keep_what_it_draws(one, mean_colours)
            put(one, "cats@2", save_sampler, seed=2)
            await asyncio.gather(one.look(), two.look())
            assert counting.batches == 2 * IMAGES / counting.batch_size
            verdicts = [each.registry.verdict(each.cats("@2")) for each in (one, two)]
            assert [verdict.state for verdict in verdicts if verdict] == ["held", "held"]
            assert verdicts[0].fid == verdicts[1].fid
            assert not [name for name in await one.references._store.names("gate") if name.endswith(".lease")]

    run(test)


def test_what_a_replica_was_at_that_died_is_measured_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.registry.lease._DEAD_S", 0.05)

    async def test() -> None:
        store = FolderStore(tmp_path)
        assert await Lease(store, "gate", "a.lease").take()  # and dies
        other = Lease(store, "gate", "a.lease")
        tries = 0
        while not await other.take():
            tries += 1
            await asyncio.sleep(0.01)
        assert tries > 1
        async with other.held():
            assert not await Lease(store, "gate", "a.lease").take()
        assert await store.names("gate") == {}

    run(test)


def both_ways(forth: float, back: float) -> dict[str, Any]:
    """As training/ records a translator's, with what it measures besides."""
    about = {"protocol": "pytorch-fid", "images": 60, "reference_images": 70}
    forth_back = {"fid_a_to_b": ("testB", forth), "fid_b_to_a": ("testA", back)}
    fids = {name: {"value": value, "reference": against, **about} for name, (against, value) in forth_back.items()}
    return {**fids, "kid_a_to_b": {"value": 0.1}, "fid_a_to_b_untouched": {"value": 1.0}}


@pytest.mark.parametrize(
    ("before", "after", "served", "reason"),
    [
        (both_ways(80.0, 140.0), both_ways(80.9, 130.0), "2", "is no worse"),
        (both_ways(80.0, 140.0), both_ways(81.1, 130.0), "1", "FID a to b of 81.10"),
        (both_ways(80.0, 140.0), both_ways(70.0, 141.1), "1", "FID b to a of 141.10"),
        (both_ways(80.0, 140.0), {"fid": {"value": 1.0}}, "1", "records no FID a to b"),
        ({}, both_ways(500.0, 500.0), "2", "passes unmeasured"),
    ],
)
def test_translators_are_compared_by_what_their_files_record(
    tmp_path: Path,
    save_translator: Save,
    mean_colours: metrics.Extractor,
    before: dict[str, Any],
    after: dict[str, Any],
    served: str,
    reason: str,
) -> None:
    async def test() -> None:
        async with bench(tmp_path, mean_colours, margin=1.0, model_references={"horse": "zebras"}) as one:
            put(one, "horse@1", save_translator, metrics=before)
            put(one, "horse@2", save_translator, seed=2, metrics=after)
            await one.registry.refresh()
            assert one.registry.translator("horse").version == served
            verdict = one.registry.verdict(one.registry.translator("horse@2"))
            assert reason in verdict.reason
            assert (verdict.images, verdict.reference) == (None, None)

    run(test)


def test_the_gate_reads_what_the_shipped_models_record() -> None:
    """The names are training/'s; with others, every translator would pass."""
    for path in SHIPPED:
        metadata = models.load(path).metadata
        better = {
            name: {**one, "value": one["value"] - 1} for name, one in metadata.metrics.items() if name.startswith("fid")
        }
        old = dataclasses.replace(metadata, metrics=better)
        assert "of" in (recorded_fids(metadata, old, margin=0.5) or ""), path.name
        assert recorded_fids(metadata, old, margin=1.5) is None


def test_it_is_seen_over_http_and_scores_are_answered_meanwhile(
    serve: Callable[..., Any], save_sampler: Save, tmp_path: Path, turnstile: Any, wait_until: Callable[..., None]
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    save_sampler(folder / "cats@1.safetensors", seed=1)
    turnstile.guards = "gate"
    local = serve(
        turnstile, models=(folder,), reload_s=0.05, gate_fid_margin=0, gate_images=16, model_references={"cats": "real"}
    )

    def cards() -> dict[str, Any]:
        answer = requests.get(f"{local.url}/v1/models", timeout=300).json()
        return {"in service": next(c["id"] for c in answer["models"] if "cats" in c["names"]), **answer}

    def gate(state: str) -> bool:
        return any(card["gate"] and card["gate"]["state"] == state for card in cards()["models"])

    images = requests.post(f"{local.url}/v1/sample", json={"n": 100, "seed": 900, "output": "zip"}, timeout=300).content
    kept = requests.post(
        f"{local.url}/v1/references", data={"name": "real"}, files={"images": ("a.zip", images)}, timeout=300
    )
    assert kept.status_code == 201
    turnstile.reached.clear()
    save_sampler(folder / "cats@2.safetensors", seed=2)
    assert turnstile.reached.wait(300)
    assert gate("measuring")
    assert cards()["in service"] == "cats@1"
    scored = requests.post(f"{local.url}/v1/score", json={"a_n": 4, "b_n": 4, "b_seed": 9, "bootstrap": 0}, timeout=300)
    assert scored.status_code == 200
    turnstile.let_all()
    wait_until(lambda: gate("held"), "the verdict")
    (refused,) = cards()["refused"]
    assert refused["file"] == "cats@2.safetensors"
    assert refused["gate"]["fid"] > refused["gate"]["fid_in_service"] > 0
    assert (refused["gate"]["images"], refused["gate"]["done"], refused["gate"]["reference"]) == (16, 32, "real")
    assert cards()["in service"] == "cats@1"

"""Versions, aliases, hot reload. `refresh` is what the watcher calls; the tests call it themselves."""

import asyncio
import logging
import logging.handlers
import os
import queue
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from models.errors import InputError, NotFoundError, OverloadError
from service.engine.engine import Engine
from service.engine.sampler import Latents, Sampler
from service.registry.checkpoints import Served
from service.registry.registry import Registry
from service.registry.verdicts import Verdict
from service.settings import Settings
from service.telemetry import Telemetry

Save = Callable[..., Path]


@asynccontextmanager
async def registry(folder: Path, gate: Any = None, **settings: Any) -> AsyncIterator[Registry]:
    telemetry = Telemetry()
    made = Settings(models=(folder,), **settings)
    engine = Engine(made, telemetry)
    yield Registry(made, engine, telemetry, gate)
    engine.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 500))  # type: ignore[arg-type]


def put(folder: Path, name: str, save: Save, **options: Any) -> Path:
    """Saves beside, then renames: as `models.save` does, and with a new stamp whatever the clock's grain."""
    path = save(folder / name, **options)
    put.count = getattr(put, "count", 0) + 1  # type: ignore[attr-defined]
    os.utime(path, ns=(put.count, put.count))  # type: ignore[attr-defined]
    return path


def test_names_versions_and_natural_order(tmp_path: Path, save_sampler: Save) -> None:
    for version, seed in (("9", 1), ("10", 2), ("beta", 3)):
        put(tmp_path, f"cats@{version}.safetensors", save_sampler, seed=seed)
    plain = put(tmp_path, "cats.safetensors", save_sampler, seed=4)

    async def test() -> None:
        async with registry(tmp_path) as one:
            await one.refresh()
            digest = next(served for served in one.served() if served.source.path == plain).digest
            assert [served.id for served in one.served()] == [
                f"cats@{digest[:12]}",
                "cats@beta",
                "cats@9",
                "cats@10",
            ]
            assert one.sampler("cats").version == "10"
            assert one.sampler("cats@9").version == "9"
            assert one.sampler(None).id == "cats@10"

    run(test)


def test_aliases_from_a_file_and_from_settings(tmp_path: Path, save_sampler: Save) -> None:
    put(tmp_path, "cats@1.safetensors", save_sampler)
    put(tmp_path, "cats@2.safetensors", save_sampler, seed=2)
    (tmp_path / "aliases.json").write_text('{"stable": "cats@1", "newest": "cats"}')

    async def test() -> None:
        async with registry(tmp_path, aliases={"default": "cats@2"}) as one:
            await one.refresh()
            assert one.sampler("stable").version == "1"
            assert one.sampler("newest").version == "2"
            assert one.names_of(one.sampler("default")) == ["cats@2", "cats", "default", "newest"]
            (tmp_path / "aliases.json").write_text("[]")
            await one.refresh()
            assert "aliases.json" in str(one.refusals[0].path)

    run(test)


def test_a_replaced_file_is_swapped_in_and_the_old_one_finishes(tmp_path: Path, save_sampler: Save) -> None:
    path = put(tmp_path, "cats.safetensors", save_sampler, seed=1)

    async def test() -> None:
        async with registry(tmp_path) as one:
            await one.refresh()
            old = one.sampler("cats")
            put(tmp_path, "cats.safetensors", save_sampler, seed=2)
            await one.refresh()
            new = one.sampler("cats")
            assert new.digest != old.digest
            rows = Latents(torch.ones(1, 8), None)
            assert isinstance(old.unit, Sampler)
            assert isinstance(new.unit, Sampler)
            assert (await old.unit.images(rows) != await new.unit.images(rows)).any()
            path.unlink()
            await one.refresh()
            with pytest.raises(NotFoundError):
                one.sampler("cats")

    run(test)


def test_a_broken_file_is_refused_and_the_old_one_serves_on(tmp_path: Path, save_sampler: Save) -> None:
    path = put(tmp_path, "cats.safetensors", save_sampler)

    async def test() -> None:
        async with registry(tmp_path) as one:
            await one.refresh()
            old = one.sampler("cats")
            path.write_bytes(path.read_bytes()[:1000])
            await one.refresh()
            assert one.sampler("cats") is old
            assert one.ready
            assert "not a whole safetensors file" in one.refusals[0].reason
            put(tmp_path, "cats.safetensors", save_sampler, seed=5)
            await one.refresh()
            assert one.sampler("cats") is not old
            assert not one.refusals

    run(test)


def test_ready_means_that_every_model_that_can_be_loaded_is(tmp_path: Path, save_sampler: Save) -> None:
    put(tmp_path, "cats.safetensors", save_sampler)
    (tmp_path / "dogs.safetensors").write_bytes(b"no")

    async def test() -> None:
        async with registry(tmp_path) as one:
            assert not one.ready
            with pytest.raises(OverloadError, match="being loaded"):
                one.sampler("cats")
            await one.refresh()
            assert one.ready
            assert one.sampler("cats")
            (refusal,) = one.refusals
            assert refusal.path.name == "dogs.safetensors"
        async with registry(tmp_path / "absent") as other:
            await other.refresh()
            assert not other.ready
            assert "no such folder" in other.refusals[0].reason

    run(test)


def test_where_no_model_can_be_loaded_the_service_is_not_ready(tmp_path: Path, save_sampler: Save) -> None:
    (tmp_path / "cats.safetensors").write_bytes(b"no")

    async def test() -> None:
        async with registry(tmp_path) as one:
            await one.refresh()
            assert not one.ready
            put(tmp_path, "cats.safetensors", save_sampler)
            await one.refresh()
            assert one.ready

    run(test)


STRAYS: dict[str, Callable[[Path], None]] = {
    "a superscript is a digit to str.isdigit and none to int": lambda folder: _copy(folder, "cats@\u00b2.safetensors"),
    "a version that no header can carry": lambda folder: _copy(folder, "cats@\u2603.safetensors"),
    "a name that is not UTF-8": lambda folder: _copy(folder, os.fsdecode(b"caf\xe9.safetensors")),
    "a version that is not UTF-8": lambda folder: _copy(folder, os.fsdecode(b"cats@\xe9.safetensors")),
    "a fifo, whose opening waits for a writer": lambda folder: os.mkfifo(folder / "a.safetensors"),
    "a folder": lambda folder: (folder / "b.safetensors").mkdir(),
    "a link to nothing": lambda folder: (folder / "b.safetensors").symlink_to("nothing"),
    "a link to itself": lambda folder: (folder / "b.safetensors").symlink_to("b.safetensors"),
    "deep aliases": lambda folder: _aliases(folder, b"[" * 100_000),
    "aliases that are not UTF-8": lambda folder: _aliases(folder, b'{"\xe9": "cats"}'),
    "a fifo of aliases": lambda folder: os.mkfifo(folder / "aliases.json"),
}


def _copy(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / "cats.safetensors").read_bytes())


def _aliases(folder: Path, content: bytes) -> None:
    (folder / "aliases.json").write_bytes(content)


@pytest.mark.parametrize("stray", STRAYS)
def test_a_stray_file_is_named_and_skipped(
    tmp_path: Path, save_sampler: Save, monkeypatch: pytest.MonkeyPatch, stray: str
) -> None:
    put(tmp_path, "cats.safetensors", save_sampler)
    STRAYS[stray](tmp_path)
    log: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    monkeypatch.setattr(logging.getLogger("gan"), "handlers", [logging.handlers.QueueHandler(log)])

    async def test() -> None:
        async with registry(tmp_path) as one:
            for _ in range(2):
                await one.refresh()
                assert one.ready
                assert [served.source.name for served in one.served()] == ["cats"]
                (refusal,) = one.refusals
            records = [log.get_nowait().getMessage() for _ in range(log.qsize())]
            assert [said for said in records if "skipped" in said] == [
                f"skipped {refusal.path}: {refusal.reason}"
            ]  # once, not at every look
            put(tmp_path, "dogs.safetensors", save_sampler, seed=2)
            await one.refresh()
            assert [served.source.name for served in one.served()] == ["cats", "dogs"]

    run(test)


def test_aliases_of_half_a_character_can_be_listed(tmp_path: Path, save_sampler: Save) -> None:
    put(tmp_path, "cats.safetensors", save_sampler)
    _aliases(tmp_path, b'{"\\ud800": "cats"}')

    async def test() -> None:
        async with registry(tmp_path) as one:
            await one.refresh()
            assert "\ufffd" in one.names_of(one.served()[0])

    run(test)


class Lenient:
    """A gate that lets everything through, and notes whether the service was ready when it was asked."""

    def __init__(self) -> None:
        self.registry: Registry | None = None
        self.ready: list[bool] = []

    async def ask(self, new: Served, old: Served) -> Verdict:
        assert self.registry is not None
        self.ready.append(self.registry.ready)
        return Verdict("passed", new.id, new.digest, old.id, 0.0, "fine.")

    def drop_all_but(self, pairs: set[tuple[str, str, str]]) -> None:
        assert len(pairs) == 1


def test_the_service_is_not_ready_before_names_lead_to_versions(tmp_path: Path, save_sampler: Save) -> None:
    put(tmp_path, "cats@1.safetensors", save_sampler)
    put(tmp_path, "cats@2.safetensors", save_sampler, seed=2)
    gate = Lenient()

    async def test() -> None:
        async with registry(tmp_path, gate) as one:
            gate.registry = one
            await one.refresh()
            assert gate.ready == [False]
            assert one.ready
            assert one.sampler("cats").version == "2"

    run(test)


def test_what_is_asked_for_and_not_there(tmp_path: Path, save_sampler: Save, save_translator: Save) -> None:
    put(tmp_path, "cats.safetensors", save_sampler)
    put(tmp_path, "horse.safetensors", save_translator)
    put(tmp_path, "bad name.safetensors", save_sampler)

    async def test() -> None:
        async with registry(tmp_path) as one:
            await one.refresh()
            with pytest.raises(NotFoundError, match="there are: cats"):
                one.sampler("../cats")
            with pytest.raises(InputError, match="these can: horse"):
                one.translator("cats")
            assert "letters" in one.refusals[0].reason

    run(test)


@pytest.fixture
def bento_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """BentoML's own model store, in a folder of this test's: elsewhere BENTOML_HOME says where, once a process."""
    monkeypatch.setenv("BENTOML_DO_NOT_TRACK", "True")
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.models import ModelStore

    folder = tmp_path / "store"
    folder.mkdir()
    BentoMLContainer.model_store.set(ModelStore(folder))
    yield folder
    BentoMLContainer.model_store.reset()


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # BentoML imports it
def test_bentomls_model_store_is_a_source(tmp_path: Path, save_sampler: Save, bento_store: Path) -> None:
    import bentoml

    for version, files in (("v3", ("x",)), ("v4", ("x", "y"))):
        with bentoml.models.create(f"cats:{version}") as model:
            for name in files:
                save_sampler(Path(model.path_of(f"{name}.safetensors")))
    (tmp_path / "empty").mkdir()

    async def test() -> None:
        async with registry(tmp_path / "empty", bento_models=("cats:v3", "cats:v4", "dogs:v1")) as one:
            await one.refresh()
            served = one.sampler("cats")
            assert (served.id, served.source.origin) == ("cats@v3", "bentoml")
            assert served.source.path.is_relative_to(bento_store.resolve())
            reasons = {refusal.path.name: refusal.reason for refusal in one.refusals}
            assert reasons.keys() == {"cats:v4", "dogs:v1"}
            assert "2 .safetensors files" in reasons["cats:v4"]
            assert "dogs:v1" in reasons["dogs:v1"]
            assert not one.ready

    run(test)

"""The engine without HTTP: the same pixels in any batch, prepared networks, tiles."""

import asyncio
import ctypes
import dataclasses
import sys
import threading
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

import models
from models.errors import CheckpointError, InputError
from models.networks.biggan import BigGANConfig
from models.networks.r3gan import R3GANConfig, Residual
from models.tiles import OVERLAP, boxes
from service.engine.batcher import Flow
from service.engine.engine import Engine
from service.engine.prepare import fold_batch_norm, in_fixed_batches, prepare, same_in_any_batch
from service.engine.sampler import Latents, Sampler
from service.engine.translator import Translator
from service.runtime import hand_over_soon
from service.settings import Settings
from service.telemetry import Telemetry


def engine(**settings: object) -> Engine:
    return Engine(Settings(**settings), Telemetry())  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_latent_gives_the_same_pixels_in_any_batch(checkpoints: Path, precision: str, threads: int) -> None:
    latents = models.draw(list(range(20)), 8)

    async def test() -> None:
        device = engine(precision=precision, threads=threads, max_batch=16)
        sampler = await device.serve("tiny", models.load(checkpoints / "tiny.safetensors"))
        assert isinstance(sampler, Sampler)
        alone = [await sampler.images(Latents(row[None], None)) for row in latents]
        for size in (3, 16, 20):
            many = await asyncio.gather(*(sampler.images(Latents(part, None)) for part in latents.split(size)))
            np.testing.assert_array_equal(np.concatenate(many), np.concatenate(alone))
        device.close()

    asyncio.run(test())


def test_a_network_that_differs_between_batch_sizes_is_found_and_run_in_fixed_batches() -> None:
    calls: list[int] = []

    def unsteady(rows: torch.Tensor) -> torch.Tensor:
        """As a matrix product that sums in another order for another number of rows."""
        calls.append(len(rows))
        return rows * (1 + 1e-6 * len(rows))

    rows = torch.randn(11, 3)
    assert not same_in_any_batch(unsteady, rows)
    assert same_in_any_batch(lambda x: x * 2, rows)
    calls.clear()
    steady = in_fixed_batches(unsteady)
    assert same_in_any_batch(steady, rows)
    assert set(calls) == {8}


@pytest.mark.skipif(sys.platform != "linux", reason="timer slack is Linux's")
def test_threads_started_afterwards_wait_without_slack() -> None:
    ask_for_slack = 30  # PR_GET_TIMERSLACK, in linux/prctl.h
    slack, interval = Path("/proc/self/timerslack_ns"), sys.getswitchinterval()
    before = slack.read_text()
    found: list[int] = []
    try:
        sys.setswitchinterval(0.005)
        hand_over_soon()
        thread = threading.Thread(target=lambda: found.append(ctypes.CDLL(None).prctl(ask_for_slack, 0, 0, 0, 0)))
        thread.start()
        thread.join()
        assert sys.getswitchinterval() < 0.0001
    finally:
        slack.write_text(before)
        sys.setswitchinterval(interval)
    assert found == [1]


def test_where_there_is_no_slack_to_set_the_service_starts_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    interval = sys.getswitchinterval()
    monkeypatch.setattr("service.runtime._TIMER_SLACK", tmp_path / "none" / "timerslack_ns")
    try:
        hand_over_soon()
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize(
    ("config", "threads"),
    [(models.MLPConfig(image_size=12, latent_size=64, hidden=300), 2), (R3GANConfig(channels=1, width=8), 1)],
    ids=["mlp", "r3gan"],
)
def test_networks_of_other_layers_are_steady_too(tmp_path: Path, config: models.SamplerConfig, threads: int) -> None:
    """Fully connected; and with grouped convolutions and a blur."""
    torch.manual_seed(0)
    network = config.parts()["generator"]
    for part in network.modules():
        if isinstance(part, Residual):
            nn.init.normal_(part.narrow.weight, 0.0, 0.1)
    models.save(tmp_path / "other.safetensors", {"generator": network}, models.metadata_of(config))
    latents = models.draw(list(range(33)), 64)

    async def test() -> None:
        device = engine(threads=threads)
        sampler = await device.serve("other", models.load(tmp_path / "other.safetensors"))
        assert isinstance(sampler, Sampler)
        alone = [await sampler.images(Latents(row[None], None)) for row in latents]
        np.testing.assert_array_equal(await sampler.images(Latents(latents, None)), np.concatenate(alone))
        assert alone[0].shape == (1, config.image_size, config.image_size, 1)
        device.close()

    asyncio.run(test())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "config",
    [
        models.DCGANConfig(image_size=32, latent_size=16, width=16, classes=3, class_embedding=0),
        BigGANConfig(image_size=32, latent_size=16, width=8, max_multiplier=2, classes=3, attention=16),
    ],
    ids=["dcgan", "biggan"],
)
def test_classes_that_scale_batch_norms_are_steady_too(
    tmp_path: Path, config: models.SamplerConfig, precision: str
) -> None:
    torch.manual_seed(0)
    network = config.parts()["generator"]
    for part in network.modules():
        if isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight)
    metadata = models.metadata_of(config, classes=("cat", "dog", "emu"))
    models.save(tmp_path / "scaled.safetensors", {"generator": network}, metadata)
    latents, classes = models.draw(list(range(21)), 16), torch.eye(3).repeat(7, 1)

    async def test() -> None:
        device = engine(precision=precision, threads=1)
        sampler = await device.serve("scaled", models.load(tmp_path / "scaled.safetensors"))
        assert isinstance(sampler, Sampler)
        rows = zip(latents.split(1), classes.split(1), strict=True)
        alone = np.concatenate([await sampler.images(Latents(*row)) for row in rows])
        np.testing.assert_array_equal(await sampler.images(Latents(latents, classes)), alone)
        others = await sampler.images(Latents(latents, classes.roll(1, 0)))
        assert all(np.abs(a.astype(int) - b).max() > 2 for a, b in zip(others, alone, strict=True))
        device.close()

    asyncio.run(test())


def test_folding_batch_norm_changes_nothing_but_rounding(checkpoints: Path) -> None:
    network = models.load(checkpoints / "tiny.safetensors")
    assert isinstance(network, models.Generator)
    for part in network.parts["generator"].modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    latents = models.draw([1, 2, 3], 8)
    before = network(latents)
    fold_batch_norm(network.parts["generator"])
    assert not any(isinstance(part, nn.BatchNorm2d) for part in network.parts["generator"].modules())
    torch.testing.assert_close(network(latents), before, rtol=0, atol=2e-5)


def test_bfloat16_stays_near(checkpoints: Path) -> None:
    latents = models.draw(list(range(16)), 8)
    exact = models.load(checkpoints / "tiny.safetensors")
    rounded = prepare(models.load(checkpoints / "tiny.safetensors"), "bfloat16")
    assert isinstance(exact, models.Generator)
    assert isinstance(rounded, models.Generator)
    difference = (exact(latents) - rounded(latents)).abs()
    assert 0 < float(difference.mean()) < 0.01  # of a range of 2
    assert float(difference.max()) < 0.1


def test_mixed_classes_meet_the_pure_ones_at_the_ends(checkpoints: Path) -> None:
    network = models.load(checkpoints / "classy.safetensors")
    assert isinstance(network, models.Generator)
    latent = models.draw([5], 8)
    mixed = network.forward(latent, torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(mixed, network(latent, torch.tensor([1])))


@pytest.mark.parametrize(
    ("latents", "classes"),
    [
        (torch.zeros(1, 9), None),
        (torch.full((1, 8), torch.inf), None),
        (torch.zeros(1, 8), torch.ones(1, 1)),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    checkpoints: Path, latents: torch.Tensor, classes: torch.Tensor | None
) -> None:
    async def test() -> None:
        device = engine()
        sampler = await device.serve("tiny", models.load(checkpoints / "tiny.safetensors"))
        assert isinstance(sampler, Sampler)
        with pytest.raises(InputError):
            await sampler.images(Latents(latents, classes))
        device.close()

    asyncio.run(test())


def test_weights_that_give_no_numbers_are_refused(checkpoints: Path) -> None:
    network = models.load(checkpoints / "tiny.safetensors")
    for parameter in network.parts["generator"].parameters():
        parameter.data.fill_(3e38)

    async def test() -> None:
        device = engine()
        with pytest.raises(CheckpointError, match="not finite"):
            await device.serve("tiny", network)
        device.close()

    asyncio.run(test())


def test_a_large_image_in_tiles_is_the_image_in_one_piece_without_a_seam(checkpoints: Path) -> None:
    rows, columns = np.mgrid[0:621, 0:838]
    texture = np.random.default_rng(1).normal(0, 20, (621, 838, 3))
    image = (127 + 80 * np.sin(rows / 60 + columns / 90)[..., None] + texture).clip(0, 255).astype(np.uint8)

    async def test() -> None:
        device = engine(tile=256, tile_above_pixels=100_000)
        translator = await device.serve("horse", models.load(checkpoints / "horse.safetensors"))
        assert isinstance(translator, Translator)
        tiled = (await translator.image(image, "a_to_b")).astype(int)
        whole = (await dataclasses.replace(translator, whole=10**9).image(image, "a_to_b")).astype(int)
        device.close()

        assert tiled.shape == image.shape
        assert np.abs(tiled - whole).mean() < 3  # statistics of crops stand in for the image's own
        steps = np.abs(np.diff(tiled, axis=1)).mean(axis=(0, 2))
        joins = [place[1] + 256 - OVERLAP // 2 for place in boxes(624, 840, 256)]
        at_joins = [steps[join - 24 : join + 24].max() for join in joins if join < 800]
        assert max(at_joins) < 1.35 * np.median(steps)  # no column changes more than columns do

    asyncio.run(test())


def test_a_thin_photo_is_what_the_network_is_given_of_it(checkpoints: Path) -> None:
    """A photo of W x 1 is padded to 8 rows: it is counted, cut into tiles and turned away, as W x 8."""

    async def test() -> None:
        device = engine(tile=256, tile_above_pixels=4096, max_queue=1)
        translator = await device.serve("horse", models.load(checkpoints / "horse.safetensors"))
        assert isinstance(translator, Translator)
        thin = np.random.default_rng(0).integers(0, 256, (1, 1024, 3), dtype=np.uint8)
        assert (translator.tiles(1, 512), translator.tiles(512, 1)) == (1, 1)
        assert translator.tiles(1, 513) == translator.tiles(513, 1) > 1
        assert (await translator.image(thin, "a_to_b")).shape == thin.shape
        with pytest.raises(
            models.LimitError, match=r"rail has 1025 x 1 pixels, 8,200 once a short side is padded"
        ) as caught:
            translator.check(1, 1025, "rail", 8192)
        assert caught.value.where == "rail"
        device.close()

    asyncio.run(test())


@pytest.mark.parametrize("size", [(40, 52), (1, 1024), (301, 420)])
def test_a_photo_is_let_in_for_all_the_work_it_makes(checkpoints: Path, size: tuple[int, int]) -> None:
    """Tiles overlap, and crops are measured before them: nearly twice the photo's own blocks."""

    async def test() -> None:
        device = engine(tile=256, tile_above_pixels=4096)
        translator = await device.serve("horse", models.load(checkpoints / "horse.safetensors"))
        assert isinstance(translator, Translator)
        flow = Flow()
        with translator.let_in(flow, [size, size]):
            both = flow.coming
            await translator.image(np.zeros((*size, 3), np.uint8), "a_to_b", flow)
            assert flow.coming == both / 2
        device.close()

    asyncio.run(test())


def test_translations_in_a_batch_are_those_alone(checkpoints: Path) -> None:
    noise = np.random.default_rng(0)
    images = [noise.integers(0, 256, (*size, 3), dtype=np.uint8) for size in [(40, 52)] * 5 + [(33, 64)] * 4]

    async def test() -> None:
        device = engine()
        translator = await device.serve("horse", models.load(checkpoints / "horse.safetensors"))
        assert isinstance(translator, Translator)
        alone = [await translator.image(image, "a_to_b") for image in images]
        together = await asyncio.gather(*(translator.image(image, "a_to_b") for image in images))
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, other)
        device.close()

    asyncio.run(test())


class Held(nn.Module):
    """A network that, once `closed`, says that it has begun and waits until `opened`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.closed = False
        self.begun, self.opened = threading.Event(), threading.Event()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.closed:
            self.begun.set()
            assert self.opened.wait(60)
        return self.inner(images)


def test_a_sample_does_not_wait_for_a_translation(checkpoints: Path) -> None:
    photo = np.zeros((64, 64, 3), np.uint8)
    row = Latents(models.draw([0], 8), None)

    async def test() -> None:
        device = engine()
        sampler = await device.serve("tiny", models.load(checkpoints / "tiny.safetensors"))
        network = models.load(checkpoints / "horse.safetensors")
        assert isinstance(network, models.Translator)
        held = network.parts["a_to_b"] = Held(network.parts["a_to_b"])
        translator = await device.serve("horse", network)
        assert isinstance(sampler, Sampler)
        assert isinstance(translator, Translator)
        before = await sampler.images(row)
        held.closed = True
        translation = asyncio.create_task(translator.image(photo, "a_to_b"))
        try:
            assert await asyncio.to_thread(held.begun.wait, 60)
            np.testing.assert_array_equal(await asyncio.wait_for(sampler.images(row), 30), before)
            assert not translation.done()
        finally:
            held.opened.set()
        assert (await translation).shape == photo.shape
        device.close()

    asyncio.run(test())


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_a_translator_of_large_strides_serves_any_size(tmp_path: Path, norm: Literal["batch", "instance"]) -> None:
    """A U-Net of seven levels takes sides in multiples of 128; photos are padded to them and cut again."""
    config = models.UNetConfig(width=2, levels=7, norm=norm)
    metadata = models.metadata_of(config, domains=("maps", "photos"))
    models.save(tmp_path / "unet.safetensors", config.parts(), metadata)
    photo = np.random.default_rng(0).integers(0, 256, (50, 140, 3), dtype=np.uint8)
    network = models.load(tmp_path / "unet.safetensors", models.Translator)
    padded, size = models.pad_to_stride(models.to_float(photo[None]), 128)
    expected = models.to_uint8(models.crop(network(padded, "b_to_a"), size))[0]

    async def test() -> None:
        device = engine(tile=256, tile_above_pixels=100_000)
        translator = await device.serve("unet", network)
        assert isinstance(translator, Translator)
        assert np.abs((await translator.image(photo, "b_to_a")).astype(int) - expected).max() <= 1
        large = np.tile(photo, (8, 3, 1))
        assert (await translator.image(large, "b_to_a")).shape == large.shape
        device.close()

    asyncio.run(test())

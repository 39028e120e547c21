"""Translators with attention behind the engine: the mask beside the picture, in one piece and in tiles."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import models
from service.engine.engine import Engine
from service.engine.translator import Translator
from service.settings import Settings
from service.telemetry import Telemetry
from tests.service.conftest import save_translator


@pytest.fixture
def network(tmp_path: Path) -> models.Translator:
    return models.load(save_translator(tmp_path / "attentive.safetensors", attention=8), models.Translator)


def served(network: models.Model, look: Callable[[Translator], Awaitable[None]], **settings: object) -> None:
    """Calls `look` with the network as the engine serves it."""

    async def test() -> None:
        device = Engine(Settings(**settings), Telemetry())  # type: ignore[arg-type]
        translator = await device.serve("attentive", network)
        assert isinstance(translator, Translator)
        await look(translator)
        device.close()

    asyncio.run(test())


def noise(height: int, width: int) -> models.Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "settings",
    [{}, {"precision": "bfloat16"}, {"translate_engine": "openvino"}],
    ids=["float32", "bfloat16", "openvino"],
)
def test_what_a_mask_leaves_alone_is_the_photo_pixel_for_pixel(network: models.Translator, settings: dict) -> None:
    """Also where the network itself rounds to bfloat16, which has no room for all 256 levels, and across tiles."""
    photo = noise(300, 420)

    async def look(translator: Translator) -> None:
        for unit in (translator, dataclasses.replace(translator, whole=10**9)):
            translated, mask = await unit.masked(photo, "a_to_b")
            assert mask is not None
            assert (translated.shape, mask.shape) == (photo.shape, photo.shape[:2])
            assert 0.02 < (mask == 0).mean() < 0.98
            np.testing.assert_array_equal(translated[mask == 0], photo[mask == 0])
            assert np.abs(translated[mask > 200].astype(int) - photo[mask > 200]).mean() > 10
            np.testing.assert_array_equal(translated, await unit.image(photo, "a_to_b"))

    served(network, look, tile=256, tile_above_pixels=100_000, **settings)


def test_a_mask_is_the_networks_own(network: models.Translator) -> None:
    photo = noise(40, 52)
    images = models.to_float(photo[None])
    with torch.inference_mode():
        expected = models.Unblended(network.parts["b_to_a"])(images)[0, -1].numpy()
        whole = models.to_uint8(network(images, "b_to_a"))[0]

    async def look(translator: Translator) -> None:
        translated, mask = await translator.masked(photo, "b_to_a")
        assert mask is not None
        assert np.abs(mask - 255 * expected).max() <= 1
        assert np.abs(translated.astype(int) - whole).max() <= 1

    served(network, look)


def test_masks_in_a_batch_are_those_alone(network: models.Translator) -> None:
    photos = [np.roll(noise(40, 52), shift, axis=1) for shift in range(5)]

    async def look(translator: Translator) -> None:
        alone = [await translator.masked(photo, "a_to_b") for photo in photos]
        together = await asyncio.gather(*(translator.masked(photo, "a_to_b") for photo in photos))
        for (one, its), (other, theirs) in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, other)
            np.testing.assert_array_equal(its, theirs)

    served(network, look)


def test_a_network_without_attention_has_no_mask(checkpoints: Path) -> None:
    async def look(translator: Translator) -> None:
        assert (await translator.masked(noise(16, 16), "a_to_b"))[1] is None

    served(models.load(checkpoints / "horse.safetensors"), look)

"""The truncation curve, of a generator whose latents are its pictures: less of them is less variety."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import metrics
import models
from training.shipping import truncation
from training.shipping.measure import SamplerPlan

CONFIG = models.MLPConfig(image_size=8, latent_size=4, hidden=16)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    models.save(tmp_path / "toy.safetensors", CONFIG.parts(), models.metadata_of(CONFIG))
    return tmp_path / "toy.safetensors"


def test_truncated_samples_are_less_like_the_data_and_cover_less_of_it(
    checkpoint: Path, small: metrics.Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(truncation, "THRESHOLDS", (0.25, None))
    unseen = metrics.open_images(metrics.Samples(checkpoint, 60, seed=1000))  # a perfect model's
    plan = SamplerPlan(unseen, unseen, unseen, feature_images=60)
    found = truncation.measured(checkpoint, plan, lambda _: None, small)
    assert set(found) == {f"{name}_truncated_{word}" for name in ("fid", "recall") for word in ("0.25", "off")}
    assert found["recall_truncated_0.25"]["value"] < 0.5 < found["recall_truncated_off"]["value"]
    assert found["fid_truncated_0.25"]["value"] > 2 * found["fid_truncated_off"]["value"]
    model = models.load(checkpoint, models.Generator)
    drawn = models.to_uint8(model(models.draw(range(60), 4, truncation=0.25)))
    real = models.to_uint8(model(models.draw(range(1000, 1060), 4)))
    again = metrics.score(drawn, real, metrics=("fid",), extractor=small)
    assert found["fid_truncated_0.25"]["value"] == pytest.approx(again["fid"]["value"], rel=1e-6)
    picture = truncation.curve(found)
    assert picture is not None
    assert picture.shape[2] == 3
    assert len({tuple(pixel) for pixel in picture.reshape(-1, 3)}) > 10
    assert truncation.curve({"fid": found["fid_truncated_off"]}) is None


def test_truncation_is_part_of_what_samples_are(checkpoint: Path) -> None:
    """So that features that were kept of others are not taken for theirs."""
    whole = metrics.Samples(checkpoint, 5)
    few = [metrics.open_images(replace(whole, truncation=one)) for one in (None, 0.5, 0.25)]
    assert len({images.digest() for images in few if images.digest}) == 3
    assert few[1].name == "toy.safetensors, 5 samples from seed 0 truncated at 0.5"

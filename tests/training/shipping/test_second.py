"""The second distance of a card: the very numbers of `metrics.score`, copies found, and what the ranks disagree on."""

from pathlib import Path

import numpy as np
import pytest
import torch

import metrics
import models
from training.shipping.card import write_card
from training.shipping.measure import SamplerPlan
from training.shipping.second import measured, nearest, said

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    config = models.DCGANConfig(image_size=16, latent_size=4, width=4)
    torch.manual_seed(0)
    models.save(tmp_path / "one.safetensors", config.parts(), models.metadata_of(config))
    return tmp_path / "one.safetensors"


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    config = models.AirbenchConfig(image_size=16, classes=2, width=8)
    folder = tmp_path / "judge"
    folder.mkdir()
    torch.manual_seed(0)
    models.save(folder / "j.safetensors", config.parts(), models.metadata_of(config, classes=("a", "b")))
    return folder / "j.safetensors"


def test_distances_and_floors_are_of_the_same_counts(
    checkpoint: Path, classifier: Path, small: metrics.Extractor
) -> None:
    training, unseen = (metrics.open_images(some) for some in (PIXELS[:24], PIXELS[24:]))
    found = measured(checkpoint, SamplerPlan(training, unseen, training, 12, 8, classifier), lambda _: None, small)
    judge = metrics.custom_extractor(classifier)
    assert {(one["images"], one["reference_images"]) for one in found.values()} == {(12, 24)}
    evenly = PIXELS[24:][[number * 16 // 12 for number in range(12)]]
    for name, given, network in (
        ("fid_same_count", metrics.Samples(checkpoint, 12), small),
        ("fid_real", evenly, small),
        ("frechet_classifier", metrics.Samples(checkpoint, 12), judge),
        ("frechet_classifier_real", evenly, judge),
    ):
        expected = metrics.score(given, PIXELS[:24], extractor=network)
        assert found[name]["value"] == pytest.approx(expected["fid"]["value"], rel=1e-6)
        assert found[name]["extractor"] == network.name
    assert measured(checkpoint, SamplerPlan(training, unseen, training), lambda _: None, small) == {}


def test_a_copy_of_a_training_image_is_found(checkpoint: Path, classifier: Path) -> None:
    drawn = [loader() for loader in metrics.open_images(metrics.Samples(checkpoint, 3)).loaders()]
    training = np.concatenate([PIXELS[:5], drawn[2][None], PIXELS[5:9], drawn[0][None], drawn[1][None]])
    images = metrics.open_images(training)
    found = nearest(checkpoint, SamplerPlan(images, images, images, classifier=classifier), 3)
    assert np.array_equal(found, np.stack(drawn))


def scored(checkpoint: Path, name: str, fid: float, other: float, extractor: str = "judge") -> models.Metadata:
    """A model beside the checkpoint with these distances, at floors of 2 and 10."""
    values = {"fid_same_count": fid, "fid_real": 2.0, "frechet_classifier": other, "frechet_classifier_real": 10.0}
    about = {
        "interval": None,
        "images": 12,
        "reference": "toy train",
        "reference_images": 24,
        "protocol": "pytorch-fid",
    }
    found = {key: {"value": value, "extractor": extractor, **about} for key, value in values.items()}
    config = models.DCGANConfig(image_size=16, latent_size=4, width=4)
    metadata = models.metadata_of(config, metrics=found, training={"dataset": "toy", "dataset_digest": name})
    models.save(checkpoint.with_name(f"{name}.safetensors"), config.parts(), metadata)
    return metadata


def test_what_the_ranks_disagree_on_is_said(checkpoint: Path) -> None:
    one = scored(checkpoint, "one", 8.0, 90.0)
    first, alone = said(checkpoint, one)
    assert "FID is 4.0 times its floor" in first
    assert "is 9.0 times its own" in first
    assert "no other model" in alone.lower()
    scored(checkpoint, "other", 1.0, 1.0, extractor="another judge")  # does not compare
    scored(checkpoint, "two", 9.0, 95.0)
    assert "2 models measured so in one order, best first: one, two" in said(checkpoint, one)[1]
    scored(checkpoint, "three", 10.0, 92.0)
    assert said(checkpoint, one)[1] == (
        "The distances disagree on two and three: by FID the order is, best first, one, two, three; by the "
        "classifier's features one, three, two."
    )
    assert said(checkpoint, models.read_metadata(checkpoint)) == said(checkpoint, one)
    config = models.DCGANConfig()
    assert said(checkpoint, models.metadata_of(config)) == []


def test_the_card_shows_both(checkpoint: Path, classifier: Path, small: metrics.Extractor) -> None:
    training = {
        "dataset": "toy", "dataset_digest": "d" * 16, "dataset_images": 24, "loss": "hinge", "images": 8, "steps": 1,
        "seconds": 1, "device": "cpu", "code": "x", "seed": 0, "config": {"game": {}, "network": {}},
    }  # fmt: skip
    metadata = scored(checkpoint, "one", 8.0, 90.0, "airbench sha256:0123456789abcdef")
    metadata.training.update(training)
    models.with_metadata(checkpoint, metadata)
    images = metrics.open_images(PIXELS)
    checkpoint.with_suffix(".curves.png").write_bytes(b"of an earlier card")
    card = write_card(checkpoint, SamplerPlan(images, images, images, 8, 8, classifier), "again", extractor=small)
    page = card.read_text()
    assert "| frechet classifier | 90 |" in page
    assert "features of airbench sha256:0123456789ab" in page
    assert "FID is 4.0 times its floor" in page
    assert "(one.nearest.webp)" in page
    assert "(one.curves.png)" in page
    assert checkpoint.with_suffix(".curves.png").read_bytes() == b"of an earlier card"

"""The probe: two classifiers of features, against answers known beforehand and another implementation."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial import KDTree
from scipy.stats import binomtest

import models
from models import DCGANConfig, InputError
from models.networks.alae import ConvALAEConfig, DenseALAEConfig
from training.cli import main
from training.data.images import Dataset, load_labelled
from training.shipping.probe import Labelled, interval, linear_accuracy, nearest_neighbour_accuracy, probe


def clouds(count: int, seed: int, apart: float = 1.5) -> Labelled:
    """Three classes around the corners of a triangle."""
    draws = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    centres = apart * torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    return Labelled(centres[labels] + torch.randn(count, 4, generator=draws), labels)


def test_the_nearest_neighbour_is_that_of_a_tree():
    train, test = clouds(700, 0), clouds(1100, 1)
    _, nearest = KDTree(train.features.numpy()).query(test.features.numpy())
    expected = float((train.labels[torch.from_numpy(nearest)] == test.labels).float().mean())
    assert 0.5 < expected < 0.9  # neither chance nor certainty
    assert nearest_neighbour_accuracy(train, test) == pytest.approx(expected, abs=1e-6)


def test_a_linear_classifier_comes_near_the_best_there_is():
    """Of three equal clouds the best classifier is linear: whichever centre is nearer."""
    train, test = clouds(3000, 0), clouds(6000, 1)
    best = float((test.features[:, :3].argmax(dim=1) == test.labels).float().mean())
    assert linear_accuracy(train, test) == pytest.approx(best, abs=0.01)


def test_a_feature_that_never_changes_is_no_harm():
    train, test = clouds(300, 0, apart=9), clouds(300, 1, apart=9)
    constant = [Labelled(torch.cat([each.features, torch.ones(300, 1)], dim=1), each.labels) for each in (train, test)]
    assert linear_accuracy(*constant) == nearest_neighbour_accuracy(*constant) == 1


@pytest.mark.parametrize(("right", "count"), [(9750, 10000), (20, 20), (3, 7)])
def test_the_interval_is_wilsons(right, count):
    expected = binomtest(right, count).proportion_ci(method="wilson")
    assert interval(right / count, count) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_the_layers_of_an_encoder_are_looked_at():
    """A code that is the same for every image tells nothing; the layer before it tells black from white."""
    model = saved_model()
    torch.nn.init.zeros_(model.parts["encoder"].head[0].weight)
    labels = torch.arange(40) % 2
    pixels = (labels * 255).to(torch.uint8)[:, None, None, None].expand(40, 4, 4, 1).contiguous()
    data = Dataset("halves", pixels, labels, ("black", "white"))
    found = probe(model, data, data)
    assert found["nearest_neighbour_long"]["value"] == found["linear_long"]["value"] == 1
    assert found["nearest_neighbour_short"]["value"] == found["linear_short"]["value"] == 0.5
    assert found["nearest_neighbour_first"]["value"] == found["linear_first"]["value"] == 1
    assert found["linear_first"]["protocol"] == "accuracy on 9 activations of the encoder's first layer"
    assert found["linear_long"]["protocol"].startswith("accuracy on 9 activations")
    assert found["linear_short"]["protocol"] == "accuracy on 5 components of codes"


def test_the_maps_of_a_convolutional_encoder_are_no_vectors():
    torch.manual_seed(0)
    config = ConvALAEConfig(32, width=4, encoder_width=4, latent_size=3, code_size=5)
    model = models.Autoencoder(
        {name: part.eval() for name, part in config.parts().items()}, config, models.metadata_of(config), ""
    )
    data = Dataset("shades", torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1).expand(8, 32, 32, 3), None)
    data = Dataset(data.name, data.pixels.contiguous(), torch.arange(8) % 2, ("even", "odd"))
    assert {name.rpartition("_")[2] for name in probe(model, data, data)} == {"long", "short"}


def saved_model(path: Path | None = None) -> models.Autoencoder:
    torch.manual_seed(0)
    config = DenseALAEConfig(4, hidden=9, latent_size=3, code_size=5)
    parts, metadata = config.parts(), models.metadata_of(config)
    if path:
        models.save(path, parts, metadata)
    return models.Autoencoder({name: part.eval() for name, part in parts.items()}, config, metadata, "")


def test_the_command_prints_a_line_for_each_accuracy(tmp_path, capsys):
    saved_model(tmp_path / "toy.safetensors")
    for split in ("train", "test"):
        for name, level in (("dark", 20), ("light", 220)):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for number in range(4):
                pixels = np.full((4, 4), level + number, np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / split / name / f"{number}.png")
    assert main(["probe", str(tmp_path / "toy.safetensors"), "--data", str(tmp_path / "data")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        f"{way} {layer}" for layer in ("first", "long", "short") for way in ("nearest neighbour", "linear")
    ]
    assert "100.00%  accuracy on 9 activations before the encoder's last layer, of 8 test images" in lines[2]


def test_what_cannot_be_probed_is_refused(tmp_path, capsys):
    config = DCGANConfig(image_size=16, width=4)
    models.save(tmp_path / "dcgan.safetensors", config.parts(), models.metadata_of(config))
    saved_model(tmp_path / "toy.safetensors")
    for checkpoint, data, sentence in (
        ("missing", "fake", "There is no checkpoint"),
        ("dcgan", "fake", "draws images from latents"),
        ("toy", str(tmp_path), "holds no images"),
    ):
        assert main(["probe", str(tmp_path / f"{checkpoint}.safetensors"), "--data", data]) == 2
        assert sentence in capsys.readouterr().err


def test_classes_are_needed(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "one.png")
    with pytest.raises(InputError, match="two classes or more") as refused:
        load_labelled(str(tmp_path), 4, 1)
    assert refused.value.where == "conditional"

"""The classifier's network: the paper's layers, its whitening, and the face that checkpoints of it have."""

from pathlib import Path

import pytest
import torch

import models
from models import CheckpointError, InputError
from models.networks.airbench import Airbench


def test_its_layers_are_those_of_the_paper() -> None:
    network = Airbench(models.AirbenchConfig())
    convolutions = [tuple(layer.weight.shape) for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert convolutions == [
        (24, 3, 2, 2),
        (64, 24, 3, 3),
        (64, 64, 3, 3),
        (256, 64, 3, 3),
        (256, 256, 3, 3),
        (256, 256, 3, 3),
        (256, 256, 3, 3),
    ]
    fixed = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert fixed == {"whitening.weight", *(f"groups.{g}.norms.{n}.weight" for g in range(3) for n in range(2))}
    images = torch.randn(2, 24, 8, 8)
    assert torch.allclose(network.groups[0].convs[0](images)[:, :24], images, atol=1e-6)  # type: ignore[index,operator]


def test_whitened_patches_have_covariance_one() -> None:
    torch.manual_seed(0)
    network = Airbench(models.AirbenchConfig(image_size=16, width=8))
    images = torch.randn(64, 3, 16, 16).cumsum(2).cumsum(3) / 16  # neighbours are alike, as in photos
    network.whiten(images, least=0.0)
    network.whitening.bias.data.zero_()  # type: ignore[union-attr]
    rows = network.whitening(images).permute(0, 2, 3, 1).flatten(0, 2)
    assert torch.allclose(rows[:, :12].T @ rows[:, :12] / len(rows), torch.eye(12), atol=1e-2)
    assert torch.allclose(rows[:, 12:], -rows[:, :12], atol=1e-4)


def test_a_checkpoint_is_a_classifier(tmp_path: Path) -> None:
    config = models.AirbenchConfig(image_size=16, channels=1, classes=2, width=8)
    path = tmp_path / "c.safetensors"
    with pytest.raises(CheckpointError, match="2 class names are needed, 1 are given"):
        models.save(path, config.parts(), models.metadata_of(config, classes=("a",)))
    models.save(path, config.parts(), models.metadata_of(config, classes=("a", "b")), half=True)
    model = models.load(path, models.Classifier)
    assert (model.image_size, model.channels, model.feature_size, model.classes) == (16, 1, 32, ("a", "b"))
    images = torch.rand(3, 1, 16, 16)
    assert (model(images).shape, model.features(images).shape) == ((3, 2), (3, 32))
    with pytest.raises(InputError, match=r"must be \[n, 1, 16, 16\], not \[3, 3, 16, 16\]"):
        model(torch.rand(3, 3, 16, 16))
    with pytest.raises(InputError, match="one that draws images from latents is needed"):
        models.load(path, models.Generator)

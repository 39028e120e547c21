"""Unsupervised latent directions, against closed forms and plainly written algebra."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

import models
from models.__main__ import main
from models.errors import CheckpointError, InputError


def generator(config: object, parts: dict[str, nn.Module], face: type = models.Generator) -> models.Generator:
    for part in parts.values():
        part.eval().requires_grad_(False)
    return face(parts, config, models.Metadata("x", {}), "")


def mlp(latent: int = 6, hidden: int = 40) -> models.Generator:
    torch.manual_seed(1)
    config = models.MLPConfig(image_size=8, latent_size=latent, hidden=hidden)
    return generator(config, config.parts())


def dcgan(classes: int = 0, embedding: int = 4) -> models.Generator:
    torch.manual_seed(1)
    config = models.DCGANConfig(image_size=16, latent_size=12, width=8, classes=classes, class_embedding=embedding)
    names = tuple(f"c{number}" for number in range(classes)) or None
    return replace(generator(config, config.parts()), metadata=models.metadata_of(config, classes=names))


@dataclass(frozen=True)
class Codes:
    image_size: ClassVar[int] = 2
    channels: ClassVar[int] = 1
    classes: ClassVar[int] = 0
    latent_size: ClassVar[int] = 3
    code_size: ClassVar[int] = 3


class Flat(nn.Module):
    """Codes [n, 3] to images of 2 px, by a layer under spectral norm, whose weights hide behind a parametrization."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = spectral_norm(nn.Linear(3, 4))

    def forward(self, codes: torch.Tensor, _: torch.Tensor | None = None) -> torch.Tensor:
        return torch.tanh(self.linear(codes)).view(-1, 1, 2, 2)


def autoencoder(deviations: tuple[float, ...]) -> models.Autoencoder:
    torch.manual_seed(2)
    mapping = nn.Linear(3, 3)
    mapping.weight.data = torch.diag(torch.tensor(deviations)).float()
    parts = {"mapping": mapping, "generator": Flat(), "encoder": nn.Sequential(nn.Flatten(), nn.Linear(4, 3))}
    return generator(Codes(), parts, models.Autoencoder)


@pytest.mark.parametrize("network", [mlp(), dcgan(), dcgan(3), dcgan(3, embedding=0)], ids=str)
def test_sefa_is_the_singular_vectors_of_the_first_layers_weights(network: models.Generator) -> None:
    layer = network.parts["generator"].layers[0]
    size = network.latent_size
    weights = layer.weight if isinstance(layer, nn.Linear) else layer.weight[:size].flatten(1).T
    _, _, expected = np.linalg.svd(weights.numpy(), full_matrices=False)
    found = models.sefa(network)
    assert list(found) == [f"sefa-{number}" for number in range(1, 1 + min(8, size))]
    for vector, right in zip(found.values(), expected, strict=False):
        assert abs(float(vector.numpy() @ right)) == pytest.approx(1, abs=1e-4)
        assert vector[vector.abs().argmax()] > 0


def test_the_first_layer_may_hide_its_weights() -> None:
    network = autoencoder((1, 1, 1))
    linear = network.parts["generator"].linear
    _, _, expected = np.linalg.svd(linear.weight.numpy())
    for vector, right in zip(models.sefa(network).values(), expected, strict=True):
        cosine = float(vector.numpy() @ right) / float(vector.norm())
        assert abs(cosine) == pytest.approx(1, abs=1e-4)
        assert float(vector.norm()) == pytest.approx(1, rel=0.1)


def test_once_a_direction_is_one_standard_deviation_of_the_codes() -> None:
    network = autoencoder((5, 1, 0.1))
    found = models.find_directions(network)
    axes = [found[f"pca-{number}"] for number in (1, 2, 3)]
    for number, (axis, deviation) in enumerate(zip(axes, (5, 1, 0.1), strict=True)):
        assert float(axis.norm()) == pytest.approx(deviation, rel=0.1)
        assert abs(float(axis[number])) == pytest.approx(deviation, rel=0.1)
    codes = network.map(models.draw(range(4000), 3))
    along = codes @ (found["sefa-1"] / found["sefa-1"].norm())
    assert float(found["sefa-1"].norm()) == pytest.approx(float(along.std()), rel=0.05)


def test_components_of_activations_are_carried_over_to_the_latents() -> None:
    """Activations that follow one latent far more than the others have it as their first component."""
    network = mlp(hidden=64)
    layer = network.parts["generator"].layers[0]
    layer.weight.data[:] *= 0.05
    layer.weight.data[:, 2] = torch.linspace(-1, 1, 64) * 4
    first = models.find_directions(network)["pca-1"]
    assert float(first.norm()) == pytest.approx(1, abs=1e-5)
    assert abs(float(first[2])) > 0.95


def test_equal_weights_have_equal_directions_and_few_latents_have_few() -> None:
    one, other = (models.find_directions(mlp(latent=3)) for _ in range(2))
    assert list(one) == [f"{kind}-{number}" for kind in ("sefa", "pca") for number in (1, 2, 3)]
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_checkpoint_keeps_its_directions(tmp_path: Path) -> None:
    network = dcgan(2)
    path = tmp_path / "kept.safetensors"
    models.save(path, network.parts, network.metadata)
    before = models.load(path, models.Generator)
    assert before.latent_directions == {}
    models.add_directions(path)
    after = models.load(path, models.Generator)
    expected = models.find_directions(before)
    assert list(after.latent_directions) == sorted(expected)
    assert all(torch.equal(after.latent_directions[name], expected[name]) for name in expected)
    state, again = (one.parts["generator"].state_dict() for one in (before, after))
    assert all(torch.equal(state[name], again[name]) for name in state)
    models.save(tmp_path / "again.safetensors", models.with_directions(network.parts, network.metadata), after.metadata)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_what_is_no_direction_is_refused(tmp_path: Path) -> None:
    network = dcgan()
    for vector, name, says in (
        (torch.ones(3), "smile", "12 numbers"),
        (torch.full((12,), torch.nan), "smile", "NaN"),
        (torch.ones(12), "a b", "with a name"),
    ):
        tensors = {f"generator.{key}": value for key, value in network.parts["generator"].state_dict().items()}
        header = {"gan_service": network.metadata.to_json()}
        save_file(tensors | {f"directions.{name}": vector}, tmp_path / "x", metadata=header)
        with pytest.raises(CheckpointError, match=says):
            models.load(tmp_path / "x")
    config = models.ResNetConfig(width=4, blocks=1)
    metadata = models.metadata_of(config, domains=("a", "b"))
    models.save(tmp_path / "x", config.parts(), metadata)
    assert set(models.with_directions(config.parts(), metadata)) == {"a_to_b", "b_to_a"}
    with pytest.raises(InputError, match="translates"):
        models.add_directions(tmp_path / "x")
    with pytest.raises(CheckpointError, match="holds a_to_b"):
        models.save(tmp_path / "x", {**config.parts(), "directions": {}}, metadata)


def test_the_command_adds_directions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, path = dcgan(), tmp_path / "old.safetensors"
    models.save(path, network.parts, network.metadata)
    assert main(["directions", str(path)]) == 0
    assert "sefa-1" in capsys.readouterr().out
    assert len(models.load(path, models.Generator).latent_directions) == 16

"""A network joins by one file: its frozen dataclass enters the table, and everything else follows."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

import models
from models import CheckpointError, InputError
from models.errors import check_range
from models.networks import table
from models.networks.table import architecture


class Painter(nn.Module):
    """Codes [n, 3] -> images [n, 1, 4, 4]; its weights begin at 0.5."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.linear, self.slope = spectral_norm(nn.Linear(3, 16)), slope
        nn.init.constant_(self.linear.get_parameter("parametrizations.weight.original"), 0.5)

    def forward(self, codes: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        return torch.tanh(self.slope * self.linear(codes)).view(-1, 1, 4, 4)


@dataclass(frozen=True)
class ToyConfig:
    """An autoencoder of 4 px with a field of every type."""

    image_size: ClassVar[int] = 4
    channels: ClassVar[int] = 1
    classes: ClassVar[int] = 0
    code_size: ClassVar[int] = 3

    latent_size: int
    slope: float = 1.0
    biased: bool = True
    note: str = ""
    order: Literal["first", "second"] = "first"

    def __post_init__(self) -> None:
        check_range("latent_size", self.latent_size, 1, 10)

    def parts(self) -> dict[str, nn.Module]:
        return {
            "mapping": nn.Linear(self.latent_size, 3, bias=self.biased),
            "generator": Painter(self.slope),
            "encoder": nn.Sequential(nn.Flatten(), nn.Linear(16, 3)),
        }


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(table, "_rows", dict(table._rows))
    architecture("toy", models.Autoencoder)(ToyConfig)
    return


def saved(path: Path, config: ToyConfig) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    parts = {name: part.eval() for name, part in config.parts().items()}
    models.save(path, parts, models.metadata_of(config, training={"loss": "none"}))
    return parts


def test_an_autoencoder_comes_back_from_its_file_alone(tmp_path: Path) -> None:
    config = ToyConfig(5, slope=2.5, biased=False, note="é", order="second")
    parts = saved(tmp_path / "toy.safetensors", config)
    loaded = models.load(tmp_path / "toy.safetensors", models.Autoencoder)
    assert loaded.config == config
    assert (loaded.latent_size, loaded.image_size, loaded.channels) == (5, 4, 1)
    latents, images = models.draw(range(4), 5), torch.rand(2, 1, 4, 4) * 2 - 1
    with torch.inference_mode():
        codes = parts["mapping"](latents)
        assert torch.equal(loaded(latents), parts["generator"](codes))
        assert torch.equal(loaded.decode(codes), loaded(latents))
        assert torch.equal(loaded.encode(images), parts["encoder"](images))
    with pytest.raises(InputError, match=r"Codes must be \[n, 3\]"):
        loaded.decode(latents)
    with pytest.raises(InputError, match=r"Images must be \[n, 1, 4, 4\]"):
        loaded.encode(torch.zeros(2, 3, 4, 4))


def test_an_autoencoder_is_a_generator_to_whoever_wants_one(tmp_path: Path) -> None:
    saved(tmp_path / "toy.safetensors", ToyConfig(5))
    assert models.load(tmp_path / "toy.safetensors", models.Generator)(torch.zeros(2, 5)).shape == (2, 1, 4, 4)
    with pytest.raises(InputError, match=r"toy\.safetensors is of kind toy, .* one that translates images"):
        models.load(tmp_path / "toy.safetensors", models.Translator)
    config = models.MLPConfig(image_size=4)
    models.save(tmp_path / "mlp", config.parts(), models.metadata_of(config))
    with pytest.raises(InputError, match="finds the codes of images is needed"):
        models.load(tmp_path / "mlp", models.Autoencoder)


def test_new_networks_begin_as_their_architecture_says() -> None:
    weight = ToyConfig(5).parts()["generator"].get_parameter("linear.parametrizations.weight.original")
    assert torch.equal(weight, torch.full((16, 3), 0.5))
    convolution = models.DCGANConfig().parts()["generator"].get_parameter("layers.3.weight")
    assert float(convolution.detach().std()) == pytest.approx(0.02, rel=0.05)
    linear = models.MLPConfig().parts()["generator"].get_parameter("layers.2.weight")
    assert float(linear.detach().abs().max()) == pytest.approx(1200**-0.5, rel=0.01)  # torch's own


def test_a_part_too_few_or_too_many_is_neither_written_nor_read(tmp_path: Path) -> None:
    parts = saved(tmp_path / "toy.safetensors", ToyConfig(5))
    metadata = models.read_metadata(tmp_path / "toy.safetensors")
    for some in ({"generator": parts["generator"]}, parts | {"critic": nn.Linear(1, 1)}):
        with pytest.raises(CheckpointError, match="holds mapping and generator and encoder, not"):
            models.save(tmp_path / "x", some, metadata)
        tensors = {f"{part}.{name}": value for part in some for name, value in some[part].state_dict().items()}
        save_file(tensors, tmp_path / "x", metadata={"gan_service": metadata.to_json()})
        with pytest.raises(CheckpointError, match="holds mapping and generator and encoder, not"):
            models.load(tmp_path / "x")
        (tmp_path / "x").unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slope": 2}, ""),  # a whole number is a number
        ({"slope": True}, "slope of toy is a number, not True"),
        ({"slope": "1"}, "slope of toy is a number, not '1'"),
        ({"slope": float("inf")}, "slope of toy is a number, not inf"),
        ({"biased": 1}, "biased of toy is true or false, not 1"),
        ({"latent_size": 5.0}, "latent_size of toy is a whole number, not 5.0"),
        ({"latent_size": True}, "latent_size of toy is a whole number, not True"),
        ({"latent_size": 11}, "latent_size is 1 to 10, not 11"),
        ({"note": None}, "note of toy is a text, not None"),
        ({"order": "third"}, "order of toy is one of 'first', 'second', not 'third'"),
        ({"order": []}, "order of toy is one of"),
    ],
)
def test_fields_are_checked_by_their_types(tmp_path: Path, change: dict[str, object], message: str) -> None:
    saved(tmp_path / "toy.safetensors", ToyConfig(5))
    metadata = models.read_metadata(tmp_path / "toy.safetensors")
    forged = dataclasses.replace(metadata, architecture=metadata.architecture | change)
    if not message:
        models.with_metadata(tmp_path / "toy.safetensors", forged)
        return
    with pytest.raises(CheckpointError, match=message):
        models.with_metadata(tmp_path / "toy.safetensors", forged)


def test_a_field_without_a_default_must_be_there(tmp_path: Path) -> None:
    parts = saved(tmp_path / "toy.safetensors", ToyConfig(5))
    header = json.loads(models.read_metadata(tmp_path / "toy.safetensors").to_json()) | {"architecture": {}}
    tensors = {f"encoder.{name}": value for name, value in parts["encoder"].state_dict().items()}
    save_file(tensors, tmp_path / "x", metadata={"gan_service": json.dumps(header)})
    with pytest.raises(CheckpointError, match="Missing architecture fields for toy: latent_size"):
        models.load(tmp_path / "x")


def test_the_table_refuses_what_a_checkpoint_could_not_hold() -> None:
    @dataclass(frozen=True)
    class Listed:
        channels: int = 3
        widths: list[int] = dataclasses.field(default_factory=list)

        def parts(self) -> dict[str, nn.Module]:
            return {}

    with pytest.raises(TypeError, match=r"Listed\.widths must be int, float, bool, str or Literal"):
        architecture("listed", models.Generator)(Listed)
    with pytest.raises(TypeError, match="dcgan is taken by DCGANConfig"):
        architecture("dcgan", models.Generator)(ToyConfig)

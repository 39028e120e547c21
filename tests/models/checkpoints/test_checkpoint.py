"""The checkpoint format: what is written is what is loaded, whole or not at all."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import models
from models import CheckpointError, DCGANConfig, InputError, MLPConfig, ResNetConfig
from models.__main__ import main

PRETRAINED = Path(__file__).resolve().parents[3] / "models" / "pretrained"


def generator_of(config: models.Architecture, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return next(iter(config.parts().values())).eval()


@pytest.fixture
def dcgan(tmp_path: Path) -> Path:
    config = DCGANConfig(image_size=16, latent_size=8, width=4)
    path = tmp_path / "dcgan.safetensors"
    models.save(path, {"generator": generator_of(config)}, models.metadata_of(config, training={"loss": "hinge"}))
    return path


@pytest.mark.parametrize(
    "config",
    [
        DCGANConfig(image_size=16, latent_size=8, width=4),
        DCGANConfig(image_size=32, channels=1, latent_size=5, width=2, classes=3, class_embedding=4),
        DCGANConfig(image_size=32, latent_size=5, width=2, classes=3, class_embedding=0),
        MLPConfig(image_size=7, latent_size=6, hidden=10),
    ],
)
def test_a_generator_comes_back_from_its_file_alone(config: models.SamplerConfig, tmp_path: Path) -> None:
    network = generator_of(config)
    classes = tuple("abc"[: config.classes]) or None
    path = tmp_path / "g.safetensors"
    models.save(path, {"generator": network}, models.metadata_of(config, classes=classes))
    loaded = models.load(path, models.Generator)
    latents = models.draw([0, 1, 2], config.latent_size)
    labels = torch.tensor([0, 1, 2]) if config.classes else None
    assert torch.equal(loaded(latents, labels), network(latents, labels))
    assert loaded.config == config
    assert loaded.digest == models.sha256_of(path)
    images = loaded(latents, labels)
    assert images.shape == (3, config.channels, config.image_size, config.image_size)
    assert images.abs().max() <= 1.0


def test_a_translator_holds_both_directions(tmp_path: Path) -> None:
    config = ResNetConfig(width=4, blocks=1)
    there, back = generator_of(config, 1), generator_of(config, 2)
    path = tmp_path / "t.safetensors"
    models.save(path, {"a_to_b": there, "b_to_a": back}, models.metadata_of(config, domains=("horse", "zebra")))
    loaded = models.load(path, models.Translator)
    assert loaded.domains == ("horse", "zebra")
    images = torch.rand(2, 3, 12, 16) * 2 - 1
    assert torch.equal(loaded(images, "a_to_b"), there(images))
    assert torch.equal(loaded(images, "b_to_a"), back(images))


def test_a_translator_may_have_one_direction_only(tmp_path: Path) -> None:
    config = ResNetConfig(width=4, blocks=1)
    path = tmp_path / "t.safetensors"
    models.save(path, {"a_to_b": generator_of(config)}, models.metadata_of(config, domains=("a", "b")))
    loaded = models.load(path, models.Translator)
    assert loaded.directions == ("a_to_b",)
    with pytest.raises(InputError, match="direction is a_to_b"):
        loaded(torch.zeros(1, 3, 8, 8), "b_to_a")


def test_half_precision_halves_the_file_and_stays_close(tmp_path: Path) -> None:
    config = DCGANConfig(image_size=16, latent_size=32, width=32)
    network = generator_of(config)
    for name, half in (("full", False), ("half", True)):
        models.save(tmp_path / name, {"generator": network}, models.metadata_of(config), half=half)
    assert (tmp_path / "half").stat().st_size < 0.55 * (tmp_path / "full").stat().st_size
    loaded = models.load(tmp_path / "half", models.Generator)
    assert all(p.dtype == torch.float32 for p in loaded.parts["generator"].parameters())
    latents = models.draw(range(4), 32)
    torch.testing.assert_close(loaded(latents), network(latents), atol=5e-3, rtol=0)


def test_metadata_can_be_replaced_without_touching_a_tensor(dcgan: Path) -> None:
    before = models.load(dcgan)
    models.with_metadata(dcgan, dataclasses.replace(before.metadata, metrics={"fid": {"value": 12.5}}))
    after = models.load(dcgan)
    assert after.metadata.metrics == {"fid": {"value": 12.5}}
    assert after.metadata.training == {"loss": "hinge"}
    for old, new in zip(*(one.parts["generator"].state_dict().values() for one in (before, after)), strict=True):
        assert torch.equal(old, new)


def test_nan_is_neither_written_nor_read(tmp_path: Path) -> None:
    config = DCGANConfig(image_size=16, latent_size=8, width=4)
    network = generator_of(config)
    with torch.no_grad():
        next(network.parameters())[0, 0, 0, 0] = float("nan")
    with pytest.raises(CheckpointError, match="NaN or Inf"):
        models.save(tmp_path / "x", {"generator": network}, models.metadata_of(config))
    assert not list(tmp_path.iterdir())
    header = {"gan_service": json.dumps(dataclasses.asdict(models.metadata_of(config)))}
    tensors = {f"generator.{name}": tensor for name, tensor in network.state_dict().items()}
    save_file(tensors, tmp_path / "forged", metadata=header)
    with pytest.raises(CheckpointError, match="NaN or Inf"):
        models.load(tmp_path / "forged")


def test_every_cut_and_every_foreign_file_is_refused_in_words(dcgan: Path, tmp_path: Path) -> None:
    whole = dcgan.read_bytes()
    for length in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="not a whole safetensors file"):
            models.load(tmp_path / "cut")
    save_file({"x": torch.zeros(1)}, tmp_path / "other")
    with pytest.raises(CheckpointError, match="not a checkpoint of ours"):
        models.load(tmp_path / "other")
    with pytest.raises(FileNotFoundError):
        models.load(tmp_path / "missing")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "has format 2"),
        ({"kind": "stylegan"}, "Unknown kind 'stylegan'"),
        ({"architecture": {"image_size": 16, "latent_size": 8, "width": 4, "colour": 1}}, "fields for dcgan: colour"),
        ({"architecture": {"image_size": 17}}, "image_size is one of"),
        ({"architecture": {"width": 10**12}}, "width is 1 to 1,024"),
        ({"architecture": {"width": "4"}}, "width of dcgan is a whole number, not '4'"),
        ({"architecture": {"image_size": 16, "latent_size": 8, "width": 1024}}, "do not fit"),
        ({"architecture": []}, "must be a JSON object"),
        ({"classes": ["a"]}, "0 class names are needed, 1 are given"),
        ({"domains": ["a", "b"]}, "only translators have domains"),
        ({"author": "me"}, "must be a JSON object of"),
    ],
)
def test_a_forged_header_is_refused_in_words(
    dcgan: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    loaded = models.load(dcgan)
    tensors = {f"generator.{name}": tensor for name, tensor in loaded.parts["generator"].state_dict().items()}
    header = json.dumps(dataclasses.asdict(loaded.metadata) | change)
    save_file(tensors, tmp_path / "forged", metadata={"gan_service": header})
    with pytest.raises(CheckpointError, match=message):
        models.load(tmp_path / "forged")


def test_equal_checkpoints_have_equal_digests(dcgan: Path, tmp_path: Path) -> None:
    model = models.load(dcgan)
    for name in ("first", "second"):
        models.save(tmp_path / name, model.parts, model.metadata)
        assert models.sha256_of(tmp_path / name) == model.digest


def test_kill_9_while_writing_leaves_the_old_file_whole(dcgan: Path) -> None:
    before = dcgan.read_bytes()
    script = (
        "import sys, models; model = models.load(sys.argv[1])\n"
        "while True: models.save(sys.argv[1], model.parts, model.metadata); print(1, flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(dcgan)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)  # somewhere inside the next writes
    assert dcgan.read_bytes() == before
    models.load(dcgan)


def test_generators_say_what_they_need(dcgan: Path) -> None:
    model = models.load(dcgan, models.Generator)
    with pytest.raises(InputError, match=r"Latents must be \[n, 8\]"):
        model(torch.zeros(1, 9))
    with pytest.raises(InputError, match="finite"):
        model(torch.full((1, 8), float("inf")))
    with pytest.raises(InputError, match="no classes"):
        model(torch.zeros(1, 8), torch.tensor([0]))


def test_a_loaded_model_is_its_own_whatever_becomes_of_the_file(dcgan: Path) -> None:
    """In place, as `cp` and `rsync --inplace` write; a map of the file would show other weights, or end the process."""
    model = models.load(dcgan, models.Generator)
    latents = models.draw(range(3), 8)
    before = model(latents).clone()
    size = dcgan.stat().st_size
    with dcgan.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\x3f" * (size - size // 2))
    assert torch.equal(model(latents), before)
    with dcgan.open("r+b") as file:
        file.truncate(0)
    assert torch.equal(model(latents), before)


def test_the_digest_is_that_of_the_bytes_that_were_loaded(dcgan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is swapped for another version as soon as it has been opened once."""
    first = models.load(dcgan, models.Generator)
    other = dcgan.with_name("other")
    models.save(other, {"generator": generator_of(first.config, seed=1)}, first.metadata)
    read = Path.read_bytes

    def read_then_swap(path: Path) -> bytes:
        data = read(path)
        if path == dcgan and other.exists():
            other.replace(dcgan)
        return data

    monkeypatch.setattr(Path, "read_bytes", read_then_swap)
    model, latents = models.load(dcgan, models.Generator), models.draw(range(3), 8)
    assert not other.exists()
    assert model.digest == first.digest
    assert torch.equal(model(latents), first(latents))


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "fifo.safetensors")  # opening it would wait for a writer
    (tmp_path / "folder.safetensors").mkdir()
    for name in ("fifo", "folder"):
        with pytest.raises(CheckpointError, match=rf"{name}\.safetensors is not a regular file"):
            models.load(tmp_path / f"{name}.safetensors")
        assert main(["info", str(tmp_path / f"{name}.safetensors")]) == 2
        assert "error: " in capsys.readouterr().err


def test_what_is_printed_and_kept_is_strict_json(dcgan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    before = models.load(dcgan)
    odd = {"fid": {"value": float("nan"), "interval": (1.0, float("inf"))}, "caf\udce9": "\ud800"}
    header = dataclasses.asdict(before.metadata) | {"metrics": odd}
    tensors = {f"generator.{name}": value for name, value in before.parts["generator"].state_dict().items()}
    save_file(tensors, dcgan, metadata={"gan_service": json.dumps(header)})  # as earlier versions wrote it
    clean = {"fid": {"value": None, "interval": [1.0, None]}, "caf\ufffd": "\ufffd"}
    assert models.read_metadata(dcgan).metrics == clean
    for write in (lambda: None, lambda: models.with_metadata(dcgan, dataclasses.replace(before.metadata, metrics=odd))):
        write()
        assert main(["info", str(dcgan)]) == 0
        assert json.loads(capsys.readouterr().out, parse_constant=no_constant)["metrics"] == clean
    assert json.loads(models.read_metadata(dcgan).to_json(), parse_constant=no_constant)["metrics"] == clean


SHIPPED = {
    "cifar10-dcgan": ("dcgan", {"width": 128}),
    "cifar10-dcgan-classes": ("dcgan", {"classes": 10, "class_embedding": 0}),
    "horse2zebra": ("cyclegan", {"width": 32, "blocks": 6}),
    "mnist-alae": ("alae-mlp", {"channels": 1, "latent_size": 50, "code_size": 50}),
    "mnist-dcgan": ("dcgan", {"channels": 1}),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_checkpoints_load_as_they_always_did(name: str) -> None:
    kind, fields = SHIPPED[name]
    model = models.load(PRETRAINED / f"{name}.safetensors")
    assert model.metadata.kind == kind
    assert model.metadata.architecture.items() >= fields.items()
    assert model.config == type(model.config)(**model.metadata.architecture)
    stored = load_file(PRETRAINED / f"{name}.safetensors")
    loaded = {f"{part}.{key}": value for part in model.parts for key, value in model.parts[part].state_dict().items()}
    if isinstance(model, models.Generator):
        loaded |= {f"directions.{name}": vector for name, vector in model.latent_directions.items()}
    assert loaded.keys() == stored.keys()
    assert all(torch.equal(loaded[key], value.to(loaded[key].dtype)) for key, value in stored.items())

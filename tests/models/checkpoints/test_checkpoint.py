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
from safetensors.torch import save_file

import models
from models import CheckpointError, DCGANConfig, InputError, MLPConfig, ResNetConfig


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

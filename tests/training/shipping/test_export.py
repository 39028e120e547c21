"""ONNX export: the file runs in ONNX Runtime as the checkpoint does in torch, at shapes that were never traced."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import pytest
import torch
from torch import Tensor, nn

import models
import training.shipping.export as exporter
from models import CheckpointError, DCGANConfig, GanError, Generator, InputError, ResNetConfig, Translator
from models.networks.alae import DenseALAEConfig
from models.networks.biggan import BigGANConfig
from training.cli import main
from training.shipping.export import Parity, export

ROOT = Path(__file__).resolve().parents[3]
SAMPLER = BigGANConfig(32, latent_size=8, width=4, max_multiplier=2, classes=3, attention=16)
TRANSLATOR = ResNetConfig(width=4, blocks=1)


def saved(path: Path, config: models.Architecture, parts: tuple[str, ...], **fields: object) -> Path:
    """A checkpoint of random weights and, where there are any, batch statistics that are not those of a fresh norm."""
    noise = torch.Generator().manual_seed(0)
    networks: Mapping[str, nn.Module] = {part: config.parts()[part] for part in parts}
    for network in networks.values():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                drawn = torch.randn(tensor.shape, generator=noise)
                # He's, so that rounding stays small
                scale = 0.3 if tensor.ndim < 2 else (tensor[0].numel() / 2) ** -0.5
                tensor.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else scale * drawn)
    metadata = models.metadata_of(config, metrics={"fid": {"value": 12.5}})
    models.save(path, networks, dataclasses.replace(metadata, **fields))  # type: ignore[arg-type]
    return path


def run(path: Path, **inputs: Tensor) -> Tensor:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (images,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    return torch.from_numpy(images)


@pytest.fixture(scope="module")
def sampler(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Parity]:
    """A conditional sampler's checkpoint, its ONNX file, and the parity that export gave."""
    folder = tmp_path_factory.mktemp("sampler")
    checkpoint = saved(folder / "toy.safetensors", SAMPLER, ("generator",), classes=("a", "b", "c"))
    return checkpoint, folder / "toy.onnx", export(checkpoint, folder / "toy.onnx")


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A translator's checkpoint and the ONNX file of its second direction, by the command."""
    folder = tmp_path_factory.mktemp("translator")
    parts = ("a_to_b", "b_to_a")
    checkpoint = saved(folder / "toy.safetensors", TRANSLATOR, parts, domains=("horse", "zebra"))
    assert main(["export", str(checkpoint), str(folder / "toy.onnx"), "--direction", "b_to_a"]) == 0
    return checkpoint, folder / "toy.onnx"


@pytest.mark.parametrize("n", [1, 3, 7])
def test_a_sampler_runs_at_any_batch_as_torch_does(sampler: tuple[Path, Path, Parity], n: int) -> None:
    checkpoint, out, _ = sampler
    model = models.load(checkpoint)
    assert isinstance(model, Generator)
    latents, classes = models.draw(range(100, 100 + n), 8), torch.arange(n) % 3
    ours = model(latents, classes)
    torch.testing.assert_close(run(out, latents=latents, classes=classes), ours, atol=1e-5, rtol=0)
    assert ours.std() > 0.1  # not flat, or anything would match


def test_a_dcgan_runs_as_torch_does_too(tmp_path: Path) -> None:
    config = DCGANConfig(image_size=16, width=4, latent_size=8, classes=3)
    checkpoint = saved(tmp_path / "toy.safetensors", config, ("generator",), classes=("a", "b", "c"))
    export(checkpoint, tmp_path / "toy.onnx")
    latents, classes = models.draw(range(7), 8), torch.arange(7) % 3
    ours = models.load(checkpoint, Generator)(latents, classes)
    torch.testing.assert_close(run(tmp_path / "toy.onnx", latents=latents, classes=classes), ours, atol=1e-5, rtol=0)
    assert ours.std() > 0.1


def test_an_autoencoder_is_exported_as_the_sampler_that_it_is(tmp_path: Path) -> None:
    """Mapping and generator: from latents, not from codes."""
    config = DenseALAEConfig(image_size=8, latent_size=5, code_size=6, hidden=7)
    checkpoint = saved(tmp_path / "toy.safetensors", config, models.Autoencoder.PARTS)
    assert export(checkpoint, tmp_path / "toy.onnx").largest < 1e-5
    latents = models.draw(range(3), 5)
    ours = models.load(checkpoint, Generator)(latents)
    torch.testing.assert_close(run(tmp_path / "toy.onnx", latents=latents), ours, atol=1e-5, rtol=0)
    assert ours.std() > 0.1


def test_a_sampler_uses_its_classes(sampler: tuple[Path, Path, Parity]) -> None:
    latents = models.draw([0], 8)
    first, second = (run(sampler[1], latents=latents, classes=torch.tensor([c])) for c in (0, 1))
    assert (first - second).abs().max() > 1e-2


@pytest.mark.parametrize("size", [(1, 16, 16), (2, 12, 40), (3, 64, 32)])
def test_a_translator_runs_at_any_size_as_torch_does(translator: tuple[Path, Path], size: tuple[int, int, int]) -> None:
    checkpoint, out = translator
    n, height, width = size
    images = torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1
    model = models.load(checkpoint)
    assert isinstance(model, Translator)
    got = run(out, images=images)
    torch.testing.assert_close(got, model(images, "b_to_a"), atol=1e-4, rtol=0)
    assert (got - model(images, "a_to_b")).abs().max() > 1e-2  # it is the direction that was asked for


def test_the_file_says_what_it_is(sampler: tuple[Path, Path, Parity], translator: tuple[Path, Path]) -> None:
    faces = []
    for out in (sampler[1], translator[1]):
        model = onnx.load(out)
        onnx.checker.check_model(model)
        faces.append([node.name for node in (*model.graph.input, *model.graph.output)])
        assert {prop.key: prop.value for prop in model.metadata_props}["model"] == "toy"
    assert faces == [["latents", "classes", "images"], ["images", "translations"]]


def test_the_parity_is_kept_in_the_checkpoint(sampler: tuple[Path, Path, Parity]) -> None:
    checkpoint, _, parity = sampler
    metrics = models.read_metadata(checkpoint).metrics
    assert metrics["fid"] == {"value": 12.5}  # what was there stays
    record = metrics["onnx_parity"]
    assert record["value"] == parity.largest < 1e-5
    assert record["levels"] == parity.levels <= 1
    assert record["shapes"] == [[2, 3, 32, 32], [1, 3, 32, 32], [5, 3, 32, 32]]
    assert record["versions"] == {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__}


def test_the_parity_of_each_direction_has_its_own_name(translator: tuple[Path, Path]) -> None:
    metrics = models.read_metadata(translator[0]).metrics
    assert set(metrics) == {"fid", "onnx_parity_b_to_a"}
    assert metrics["onnx_parity_b_to_a"]["shapes"] == [[2, 3, 32, 36], [1, 3, 96, 32], [3, 3, 32, 32]]


class TwoFaced(nn.Module):
    """Exports as something else than it computes, by `factor`."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        images = torch.tanh(latents)[:, 3:6, None, None].expand(-1, 3, 4, 4)
        return images * self.factor if torch.compiler.is_exporting() else images * 1.0


def two_faced(monkeypatch: pytest.MonkeyPatch, checkpoint: Path, factor: float) -> None:
    model = models.load(checkpoint)
    unconditional = dataclasses.replace(model.metadata, classes=None)
    false = dataclasses.replace(model, parts={"generator": TwoFaced(factor).eval()}, metadata=unconditional)
    monkeypatch.setattr(exporter, "load", lambda path: false)


@pytest.mark.parametrize("factor", [1.01, float("nan")])
def test_a_network_that_exports_wrongly_is_refused(
    tmp_path: Path, sampler: tuple[Path, Path, Parity], monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    two_faced(monkeypatch, sampler[0], factor)
    before = sampler[0].read_bytes()
    with pytest.raises(GanError, match=r"differ from torch's by up to .* toy\.onnx was not written"):
        export(sampler[0], tmp_path / "toy.onnx")
    assert list(tmp_path.iterdir()) == []
    assert sampler[0].read_bytes() == before


def test_the_parity_is_the_largest_difference_found(
    tmp_path: Path, sampler: tuple[Path, Path, Parity], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network off by 0.02% is off by that much where its images are largest, over all that was tried."""
    two_faced(monkeypatch, sampler[0], 1.0002)
    monkeypatch.setattr(exporter, "with_metadata", lambda path, metadata: None)
    parity = export(sampler[0], tmp_path / "toy.onnx")
    latents = torch.cat([models.draw(models.sample_seeds(n, n), 8) for n in (2, 1, 5)])
    largest = np.abs(np.tanh(latents.numpy()[:, 3:6])).max() * 2e-4
    assert parity.largest == pytest.approx(largest, rel=2e-3)  # which the first call has, and the last has not
    assert parity.shapes == ((2, 3, 4, 4), (1, 3, 4, 4), (5, 3, 4, 4))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing.safetensors", "out.onnx"], "There is no checkpoint"),
        (["{sampler}", "out.pt"], "OUT must be a .onnx file"),
        (["{sampler}", "no/such/folder/out.onnx"], "in a folder that exists"),
        (["{sampler}", "out.onnx", "--direction", "a_to_b"], "leave --direction out"),
        (["{one_way}", "out.onnx", "--direction", "b_to_a"], "the checkpoint holds a_to_b."),
        (["{broken}", "out.onnx"], "not a whole safetensors file"),
    ],
)
def test_bad_arguments_are_sentences(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    sampler: tuple[Path, Path, Parity],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    one_way = saved(tmp_path / "one.safetensors", TRANSLATOR, ("a_to_b",), domains=("horse", "zebra"))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(sampler[0].read_bytes()[:500])
    names = {"sampler": str(sampler[0]), "one_way": str(one_way), "broken": str(broken)}
    assert main(["export", *(argument.format(**names) for argument in arguments)]) == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.glob("out.*"))


def test_errors_belong_to_the_tree(tmp_path: Path, sampler: tuple[Path, Path, Parity]) -> None:
    with pytest.raises(InputError):
        export(sampler[0], tmp_path / "out.onnx", direction="a_to_b")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(CheckpointError):
        export(broken, tmp_path / "out.onnx")


def test_an_export_does_not_write_over_its_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = saved(tmp_path / "toy.onnx", SAMPLER, ("generator",), classes=("a", "b", "c"))
    (tmp_path / "link.onnx").symlink_to(checkpoint)
    before = checkpoint.read_bytes()
    for out in (checkpoint, tmp_path / "link.onnx"):
        assert main(["export", str(checkpoint), str(out)]) == 2
        assert "is the checkpoint itself: name another file" in capsys.readouterr().err
    assert checkpoint.read_bytes() == before


def test_onnx_runtime_is_not_told_to_report(tmp_path: Path) -> None:
    """From its import on it would keep an identity of the machine below HOME, and call home with it."""
    saved(tmp_path / "toy.safetensors", SAMPLER, ("generator",), classes=("a", "b", "c"))
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [
        sys.executable,
        "-m",
        "training",
        "export",
        str(tmp_path / "toy.safetensors"),
        str(tmp_path / "toy.onnx"),
    ]
    subprocess.run(command, cwd=ROOT, env=environment | {"HOME": str(home)}, check=True, capture_output=True)
    assert (tmp_path / "toy.onnx").exists()
    assert [path for path in home.rglob("*") if path.is_file()] == []

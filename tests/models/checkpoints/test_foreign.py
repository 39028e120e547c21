"""Foreign checkpoints give the original network's own output, whatever shape they come in."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import models
from models import CheckpointError, InputError
from models.__main__ import main


class AuthorsBlock(nn.Module):
    """ResnetBlock as pytorch-CycleGAN-and-pix2pix lays it out."""

    def __init__(self, dim: int, dropout: bool) -> None:
        super().__init__()
        layers = [nn.ReflectionPad2d(1), nn.Conv2d(dim, dim, 3), nn.InstanceNorm2d(dim), nn.ReLU(True)]
        layers += [nn.Dropout(0.5)] if dropout else []
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(dim, dim, 3), nn.InstanceNorm2d(dim)]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv_block(x)


class AuthorsGenerator(nn.Module):
    """ResnetGenerator as pytorch-CycleGAN-and-pix2pix lays it out."""

    def __init__(self, ngf: int, blocks: int, dropout: bool = False, output_nc: int = 3) -> None:
        super().__init__()
        model: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, ngf, 7), nn.InstanceNorm2d(ngf), nn.ReLU(True)]
        for mult in (1, 2):
            model += [nn.Conv2d(ngf * mult, ngf * mult * 2, 3, stride=2, padding=1)]
            model += [nn.InstanceNorm2d(ngf * mult * 2), nn.ReLU(True)]
        model += [AuthorsBlock(ngf * 4, dropout) for _ in range(blocks)]
        for mult in (4, 2):
            model += [
                nn.ConvTranspose2d(ngf * mult, ngf * mult // 2, 3, stride=2, padding=1, output_padding=1),
                nn.InstanceNorm2d(ngf * mult // 2),
                nn.ReLU(True),
            ]
        model += [nn.ReflectionPad2d(3), nn.Conv2d(ngf, output_nc, 7), nn.Tanh()]
        self.model = nn.Sequential(*model)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


class ExamplesGenerator(nn.Module):
    """Generator as pytorch/examples' dcgan lays it out, for 32 and 64 px."""

    def __init__(self, nz: int, ngf: int, nc: int, multipliers: tuple[int, ...]) -> None:
        super().__init__()
        channels = [ngf * multiplier for multiplier in multipliers]
        main: list[nn.Module] = []
        for index, (inputs, outputs) in enumerate(zip([nz, *channels], channels, strict=False)):
            stride, padding = (1, 0) if index == 0 else (2, 1)
            main += [nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False)]
            main += [nn.BatchNorm2d(outputs), nn.ReLU(True)]
        main += [nn.ConvTranspose2d(channels[-1], nc, 4, 2, 1, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*main)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.main(z)


State = dict[str, torch.Tensor]


def with_prefix(state: State) -> State:
    return {f"module.{key}": value for key, value in state.items()}


def with_stale_statistics(state: State) -> State:
    """torch <= 0.3 wrote running statistics for instance norm, which the layer does not have."""
    stale = dict(state)
    for key, value in state.items():
        if key.endswith(".bias"):
            norm = ".".join([*key.split(".")[:-2], str(int(key.split(".")[-2]) + 1)])
            stale[f"{norm}.running_mean"] = torch.randn_like(value)
            stale[f"{norm}.running_var"] = torch.rand_like(value)
    return stale


def unchanged(state: State) -> State:
    return dict(state)


@pytest.mark.parametrize("change", [unchanged, with_prefix, with_stale_statistics])
@pytest.mark.parametrize(("ngf", "blocks", "dropout"), [(4, 6, False), (6, 9, False), (4, 2, True)])
def test_authors_translators_give_their_own_output(
    tmp_path: Path, change: Callable[[State], State], ngf: int, blocks: int, dropout: bool
) -> None:
    torch.manual_seed(ngf)
    original = AuthorsGenerator(ngf, blocks, dropout).eval()
    source, out = tmp_path / "latest_net_G.pth", tmp_path / "out.safetensors"
    torch.save(change(original.state_dict()), source)
    models.import_checkpoint(source, out, domains=("horse", "zebra"))
    imported = models.load(out, models.Translator)
    assert imported.metadata.architecture.items() >= {"channels": 3, "width": ngf, "blocks": blocks}.items()
    images = torch.rand(2, 3, 32, 24) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(imported(images, "a_to_b"), original(images), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("nz", "ngf", "nc", "multipliers"), [(100, 8, 3, (8, 4, 2, 1)), (7, 4, 1, (4, 2, 1)), (9, 2, 3, (16, 8, 4, 2, 1))]
)
@pytest.mark.parametrize("change", [unchanged, with_prefix])
def test_examples_dcgans_give_their_own_output(
    tmp_path: Path, nz: int, ngf: int, nc: int, multipliers: tuple[int, ...], change: Callable[[State], State]
) -> None:
    torch.manual_seed(nz)
    original = ExamplesGenerator(nz, ngf, nc, multipliers)
    original(torch.randn(8, nz, 1, 1))  # moves the batch norm statistics off their start
    original.eval()
    source, out = tmp_path / "netG_epoch_24.pth", tmp_path / "out.safetensors"
    torch.save(change(original.state_dict()), source)
    models.import_checkpoint(source, out)
    imported = models.load(out, models.Generator)
    assert (imported.latent_size, imported.channels) == (nz, nc)
    latents = models.draw(range(3), nz)
    with torch.inference_mode():
        torch.testing.assert_close(imported(latents), original(latents[:, :, None, None]), atol=1e-5, rtol=0)


def test_legacy_files_of_torch_before_1_6_are_read(tmp_path: Path) -> None:
    original = ExamplesGenerator(5, 2, 3, (4, 2, 1)).eval()
    torch.save(original.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    models.import_checkpoint(tmp_path / "old.pth", tmp_path / "out.safetensors")
    models.load(tmp_path / "out.safetensors", models.Generator)


def test_both_directions_go_into_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("A", "B"):
        torch.save(AuthorsGenerator(4, 1).state_dict(), tmp_path / f"latest_net_G_{name}.pth")
    out = tmp_path / "both.safetensors"
    files = [str(tmp_path / "latest_net_G_A.pth"), str(out), "--reverse", str(tmp_path / "latest_net_G_B.pth")]
    assert main(["import", *files, "--domains", "summer", "winter"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["domains"] == ["summer", "winter"]
    assert printed["training"]["imported_from"] == ["latest_net_G_A.pth", "latest_net_G_B.pth"]
    assert main(["info", str(out)]) == 0
    assert json.loads(capsys.readouterr().out) == printed


def test_a_source_is_not_written_over(tmp_path: Path) -> None:
    there, back = tmp_path / "latest_net_G_A.pth", tmp_path / "latest_net_G_B.pth"
    for path in (there, back):
        torch.save(AuthorsGenerator(4, 1).state_dict(), path)
    for out in (there, back, tmp_path / "." / back.name):
        with pytest.raises(InputError, match="write to another file"):
            models.import_checkpoint(there, out, reverse=back)
    assert all(torch.load(path, weights_only=True) for path in (there, back))


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def write_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


def test_a_hostile_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    marker, out = tmp_path / "ran", tmp_path / "out"
    for name, write in (
        ("zip.pth", torch.save),
        ("plain.pth", lambda o, p: p.write_bytes(pickle.dumps(o, protocol=2))),
    ):
        write({"model.1.weight": Bomb(marker)}, tmp_path / name)
        with pytest.raises(CheckpointError, match="refused"):
            models.import_checkpoint(tmp_path / name, out)
    assert not marker.exists()
    assert not out.exists()


def write_text(path: Path) -> None:
    path.write_text("not a checkpoint")


def write_truncated(path: Path) -> None:
    torch.save(AuthorsGenerator(4, 1).state_dict(), path)
    path.write_bytes(path.read_bytes()[:3000])


def write_other_network(path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), path)


def write_optimizer_too(path: Path) -> None:
    torch.save({"state_dict": {}, "epoch": 3}, path)


def write_one_layer_short(path: Path) -> None:
    state = AuthorsGenerator(4, 2).state_dict()
    del state["model.10.conv_block.5.weight"]
    torch.save(state, path)


def write_other_outputs(path: Path) -> None:
    torch.save(AuthorsGenerator(4, 1, output_nc=1).state_dict(), path)


def write_batch_norm(path: Path) -> None:
    norm = nn.Sequential(nn.Identity(), nn.Identity(), nn.BatchNorm2d(4))
    torch.save(AuthorsGenerator(4, 1).state_dict() | norm_of("model.", norm), path)


def write_affine_norm(path: Path) -> None:
    norm = nn.Sequential(nn.Identity(), nn.Identity(), nn.InstanceNorm2d(4, affine=True))
    torch.save(AuthorsGenerator(4, 1).state_dict() | norm_of("model.", norm), path)


def write_tracking_norm(path: Path) -> None:
    norm = nn.Sequential(nn.Identity(), nn.Identity(), nn.InstanceNorm2d(4, track_running_stats=True))
    torch.save(AuthorsGenerator(4, 1).state_dict() | norm_of("model.", norm), path)


def norm_of(prefix: str, norm: nn.Module) -> State:
    return {prefix + name: value for name, value in norm.state_dict().items()}


def write_batches_own_statistics(path: Path) -> None:
    state = ExamplesGenerator(5, 2, 3, (4, 2, 1)).state_dict()
    torch.save({name: value for name, value in state.items() if "running" not in name and "num_" not in name}, path)


def write_linear_first(path: Path) -> None:
    torch.save({f"main.{name}": value for name, value in nn.Sequential(nn.Linear(4, 8)).state_dict().items()}, path)


def write_biases(path: Path) -> None:
    torch.save(ExamplesGenerator(5, 2, 3, (4, 2, 1)).state_dict() | {"main.0.bias": torch.zeros(8)}, path)


def write_other_kernels(path: Path) -> None:
    state = ExamplesGenerator(5, 2, 3, (4, 2, 1)).state_dict()
    torch.save(state | {"main.3.weight": torch.zeros(8, 4, 5, 5)}, path)


def write_lfs_pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def write_web_page(path: Path) -> None:
    path.write_text("\n<!DOCTYPE html><html><title>Sign in</title></html>")


def write_nothing(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (write_text, r"no checkpoint, which torch\.save writes.*begins with b'not a checkpoin"),
        (write_lfs_pointer, "Git LFS pointer; .* `git lfs pull`"),
        (write_web_page, "a web page"),
        (write_nothing, "It is empty"),
        (write_truncated, "not a whole"),
        (write_other_network, "neither"),
        (write_optimizer_too, "more than tensors"),
        (write_one_layer_short, "block model.10 has 1 convolutions"),
        (write_other_outputs, "3 channels into 1"),
        (write_batch_norm, r"weights \(batch norm\)"),
        (write_affine_norm, r"weights \(instance norm with affine=True\)"),
        (write_tracking_norm, "running statistics .* in eval mode"),
        (write_batches_own_statistics, "batch norms keep no running statistics"),
        (write_linear_first, r"main\.0\.weight, is linear"),
        (write_biases, "convolutions have biases"),
        (write_other_kernels, "kernels are 4x4, 5x5"),
        (os.mkfifo, "not a regular file"),
    ],
)
def test_what_cannot_be_imported_is_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], write: Callable[[Path], None], message: str
) -> None:
    write(tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=message) as refused:
        models.import_checkpoint(tmp_path / "x.pth", tmp_path / "out")
    assert "x.pth" in refused.value.message
    assert main(["import", str(tmp_path / "x.pth"), str(tmp_path / "out")]) == 2
    assert "error:" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

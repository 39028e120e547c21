"""Where weights begin: with the deviation that keeps the scale of a signal."""

import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from models.networks.initial import he_deviation, initialize_as_he, smooth_filters


def after(layer: nn.Module, signal: torch.Tensor) -> float:
    """The mean square that a new layer, and the ReLU after it, make of a signal."""
    initialize_as_he(layer)
    with torch.no_grad():
        return float(relu(layer(signal)).square().mean())


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(300, 300), (300,)),
        (nn.Conv2d(32, 32, 3), (32, 12, 12)),
        (nn.ConvTranspose2d(32, 32, 4, 2, 0), (32, 24, 24)),
    ],
)
def test_a_layer_and_its_rectifier_keep_the_scale(layer, shape):
    torch.manual_seed(0)
    assert after(layer, torch.randn(16, *shape)) == pytest.approx(1, rel=0.15)
    assert not layer.bias.any()


def test_the_deviation_is_that_of_the_paper():
    assert he_deviation(nn.Linear(8, 3)) == 0.5
    assert he_deviation(nn.Conv2d(2, 7, 2)) == 0.5
    assert he_deviation(nn.ConvTranspose2d(2, 7, 4, 2, 1)) == 0.5


def test_smooth_filters_are_blurred_by_a_gaussian_and_keep_their_scale():
    """A single point becomes a Gaussian of the deviation asked for, in its own channel; its scale stays."""
    layer = nn.Linear(2 * 15 * 15, 3)
    nn.init.zeros_(layer.weight)
    filters = layer.weight.detach().view(3, 2, 15, 15)
    filters[1, 0, 7, 7] = 1.0
    before = float(filters.std())
    smooth_filters(layer, (2, 15, 15), 1.5)
    assert float(filters.std()) == pytest.approx(before, rel=1e-5)
    assert not filters[[0, 2]].any()
    assert not filters[1, 1].any()
    spot, offsets = filters[1, 0] / filters.sum(), torch.arange(15) - 7
    for side in (0, 1):
        assert float(spot.sum(dim=side) @ offsets.square().float()) == pytest.approx(1.5**2, rel=0.01)

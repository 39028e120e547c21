"""Where weights begin: with the deviation that keeps the scale of a signal."""

import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from models.networks.initial import he_deviation, initialize_as_he


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

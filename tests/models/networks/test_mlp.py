"""The first paper's networks are the ones that it describes."""

import pytest
import torch

from models import InputError, MaxoutConfig
from models.networks.mlp import Maxout


def test_maxout_is_the_largest_of_its_pieces() -> None:
    layer = Maxout(3, 2, pieces=4)
    inputs = torch.randn(5, 3)
    affine = inputs @ layer.linear.weight.T + layer.linear.bias  # [5, 2 * 4]
    torch.testing.assert_close(layer(inputs), affine.view(5, 2, 4).max(dim=2).values)
    assert MaxoutConfig(image_size=4, hidden=3).build()(torch.randn(2, 1, 4, 4)).shape == (2,)


def test_configs_refuse_what_cannot_be_built() -> None:
    with pytest.raises(InputError, match="dropout is "):
        MaxoutConfig(dropout=1.0)

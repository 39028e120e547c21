"""Spectral norm divides by the largest singular value, and can be taken into the weights."""

import copy

import pytest
import torch
from torch import nn

from models.networks.dcgan import DCGANConfig
from models.networks.spectral import put_spectral_norm, settle_spectral_norm, state_without_spectral_norm

CONFIG = DCGANConfig(16, latent_size=4, width=4, max_multiplier=2, classes=3)


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = CONFIG.parts()["generator"]
    put_spectral_norm(network, embeddings=False)
    return network


def test_weights_that_moved_are_divided_by_their_own_largest_singular_value(network):
    for parameter in network.parameters():
        nn.init.normal_(parameter)  # as if they were the average of many others
    network.eval()
    settle_spectral_norm(network)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.ConvTranspose2d)]
    assert len(layers) == 3
    for layer in layers:
        rows = layer.weight.transpose(0, 1).flatten(1)
        assert torch.linalg.matrix_norm(rows, 2).item() == pytest.approx(1, abs=0.02)
    assert not network.training
    assert not any(module.training for module in network.modules())
    assert network.embedding.weight is network.embedding.get_parameter("weight")  # a table of classes has none


def test_a_network_without_the_norm_draws_the_same(network):
    average = copy.deepcopy(network).eval()
    state = state_without_spectral_norm(average)
    plain = CONFIG.parts()["generator"].eval()
    assert state.keys() == plain.state_dict().keys()
    plain.load_state_dict(state)
    latents, classes = torch.randn(3, 4), torch.arange(3)
    torch.testing.assert_close(plain(latents, classes), average(latents, classes), atol=0, rtol=0)
    untouched = state_without_spectral_norm(plain)
    assert all(untouched[name] is value or torch.equal(untouched[name], value) for name, value in state.items())

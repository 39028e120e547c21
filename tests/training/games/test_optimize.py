"""Equalised learning rates: the same networks, step by step, as weights that are stored on one scale."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d, linear

from training.engine.schedules import constant
from training.engine.stage import Moment
from training.games.optimize import Mover, equalized
from training.options.shared import Optimizer

SHARE = 0.1


class Stored:
    """A layer as Karras et al. 2018, section 4.1, have it: weights of N(0, 1 / share), times constant and share."""

    def __init__(self, layer: nn.Module, inputs: int) -> None:
        self.scale = math.sqrt(2 / inputs) * SHARE
        self.weight = (layer.weight.detach() / self.scale).requires_grad_(True)
        self.bias = (layer.bias.detach() / SHARE).requires_grad_(True)

    def used(self):
        return self.weight * self.scale, self.bias * SHARE


def test_three_steps_are_those_of_weights_on_one_scale():
    torch.manual_seed(0)
    ours = nn.Sequential(
        nn.Linear(6, 16), nn.Unflatten(1, (4, 2, 2)), nn.ConvTranspose2d(4, 3, 4, 2, 1), nn.Conv2d(3, 2, 3, 1, 1)
    )
    layers = [ours[0], ours[2], ours[3]]
    plain = [Stored(layer, inputs) for layer, inputs in zip(layers, (6, 4 * 16 // 4, 3 * 9), strict=True)]
    mover = Mover(ours, constant(0.02), Optimizer(beta1=0.0, beta2=0.99), equalized(ours, SHARE))
    mover.at(Moment(0, 0, 1))
    adam = torch.optim.Adam([one for layer in plain for one in (layer.weight, layer.bias)], lr=0.02, betas=(0.0, 0.99))
    begun = copy.deepcopy(ours.state_dict())
    for step in range(3):
        inputs = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        mover.descend(ours(inputs).square().sum())
        maps = conv_transpose2d(linear(inputs, *plain[0].used()).view(8, 4, 2, 2), *plain[1].used(), 2, 1)
        adam.zero_grad()
        conv2d(maps, *plain[2].used(), 1, 1).square().sum().backward()
        adam.step()
    for layer, stored in zip(layers, plain, strict=True):
        weight, bias = stored.used()
        torch.testing.assert_close(layer.weight, weight, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(layer.bias, bias, rtol=1e-4, atol=1e-6)
    assert not torch.equal(begun["0.weight"], ours[0].weight)


def test_adam_takes_the_rate_and_the_beta2_of_the_moment():
    """As torch's own, told the numbers of each step: along half a cosine from 0.5 to 0.9, from 0.04 to 0.02."""
    options = Optimizer(beta1=0.0, beta2=0.9, burn_in_beta2=0.5, g_lr=0.02, burn_in_g_lr=0.04, burn_in_kimg=0.002)
    ours, plain = nn.Linear(3, 2), nn.Linear(3, 2)
    plain.load_state_dict(ours.state_dict())
    mover, adam = Mover(ours, options.g_rate, options), torch.optim.Adam(plain.parameters())
    for step, (rate, beta2) in enumerate(((0.04, 0.5), (0.03, 0.7), (0.02, 0.9), (0.02, 0.9))):
        mover.at(Moment(step, step, 4))
        adam.param_groups[0] |= {"lr": rate, "betas": (0.0, beta2)}
        inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        mover.descend(ours(inputs).square().sum())
        adam.zero_grad()
        plain(inputs).square().sum().backward()
        adam.step()
    torch.testing.assert_close(ours.weight, plain.weight)


def test_what_has_no_factor_moves_at_the_rate():
    """Batch norm, beside a layer that has one."""
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    mover = Mover(network, constant(0.5), Optimizer(), equalized(network))
    mover.at(Moment(0, 0, 1))
    rates = {one: group["lr"] for group in mover.optimizer.param_groups for one in group["params"]}
    assert rates[network[1].weight] == rates[network[1].bias] == rates[network[0].bias] == 0.5
    assert rates[network[0].weight] == pytest.approx(0.5)  # sqrt(2 / 2)
    assert len(rates) == 4

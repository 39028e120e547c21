"""Many small networks of one shape, trained side by side: weights are stacked, and a layer is one batched product.

A network of a few thousand weights costs more in calls than in arithmetic, so that thirty together take little longer
than one. No member's values or gradients depend on the others'.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def multilayer(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two hidden layers of ReLUs."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


class Ensemble(nn.Module):
    """E networks as `multilayer` makes them, of one shape: [E, n, inputs] -> [E, n, outputs].

    Starts as a copy of the networks. Their weights are stacked, [E, outputs, inputs] and [E, outputs, 1] a layer.
    """

    def __init__(self, networks: Sequence[nn.Sequential]) -> None:
        super().__init__()
        stacked, _ = torch.func.stack_module_state(list(networks))
        names = [name.removesuffix(".weight") for name in stacked if name.endswith(".weight")]
        self.weights = nn.ParameterList(stacked[f"{name}.weight"].detach() for name in names)
        self.biases = nn.ParameterList(stacked[f"{name}.bias"].detach()[:, :, None] for name in names)

    def forward(self, points: Tensor) -> Tensor:
        return self.some(points, slice(None))

    def some(self, points: Tensor, members: slice) -> Tensor:
        """The chosen members alone, on points [chosen, n, inputs]."""
        # points stand in columns within: a product with one row of weights is far faster than one with one column
        hidden = points.transpose(1, 2)
        layers = list(zip(self.weights, self.biases, strict=True))
        for weight, bias in layers[:-1]:
            hidden = torch.baddbmm(bias[members], weight[members], hidden).relu()
        weight, bias = layers[-1]
        return torch.baddbmm(bias[members], weight[members], hidden).transpose(1, 2)

    def member(self, index: int) -> nn.Sequential:
        """A copy of one network."""
        (hidden, inputs), outputs = self.weights[0].shape[1:], self.weights[-1].shape[1]
        with torch.random.fork_rng(devices=()):  # weights are drawn at birth
            network = multilayer(inputs, hidden, outputs)
        linear = [layer for layer in network if isinstance(layer, nn.Linear)]
        with torch.no_grad():
            for layer, weight, bias in zip(linear, self.weights, self.biases, strict=True):
                layer.weight.copy_(weight[index])
                layer.bias.copy_(bias[index, :, 0])
        return network

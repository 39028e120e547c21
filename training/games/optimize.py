"""Taking a step: Adam and its rate, gradients and their norms, and which parameters stand still meanwhile."""

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from models import he_deviation
from training.engine.schedules import Schedule
from training.engine.stage import Moment
from training.options.shared import Optimizer

UNIFORM: Mapping[nn.Parameter, float] = MappingProxyType({})


class Mover:
    """Moves networks by Adam (Kingma & Ba 2015), all their parameters that train in one fused call.

    Args:
        network: what is moved; several networks as an `nn.ModuleList`.
        rate: Adam's rate, at every moment of the run.
        options: its betas.
        factors: what the rate of a parameter is multiplied by, where that is not 1 (see `equalized`).
    """

    def __init__(
        self, network: nn.Module, rate: Schedule, options: Optimizer, factors: Mapping[nn.Parameter, float] = UNIFORM
    ) -> None:
        self.network, self.rate = network, rate
        self.beta1, self.second_decay = options.beta1, options.second_decay
        groups: dict[float, list[nn.Parameter]] = {}
        for parameter in network.parameters():
            if parameter.requires_grad:
                groups.setdefault(factors.get(parameter, 1.0), []).append(parameter)
        self.optimizer = torch.optim.Adam(
            [{"params": parameters, "factor": factor} for factor, parameters in groups.items()],
            betas=(options.beta1, options.beta2),
            fused=True,
        )

    def at(self, moment: Moment) -> None:
        """Sets the rate and the betas of a moment."""
        rate, betas = self.rate(moment), (self.beta1, self.second_decay(moment))
        for group in self.optimizer.param_groups:
            group["lr"], group["betas"] = group["factor"] * rate, betas

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Takes one step down the sum of all losses that are backed through within."""
        self.optimizer.zero_grad(set_to_none=True)
        yield
        self.optimizer.step()

    def descend(self, loss: Tensor) -> None:
        """Takes one step down a loss."""
        with self.step():
            loss.backward()

    def gradient_norm(self) -> Tensor:
        """The 2-norm of all gradients of the last step together."""
        return torch.nn.utils.get_total_norm([p.grad for p in self.network.parameters() if p.grad is not None])


def equalized(network: nn.Module, share: float = 1.0) -> dict[nn.Parameter, float]:
    """Equalised learning rates (Karras et al. 2018, section 4.1), for networks that begin as He et al. 2015 have it.

    A step of Adam is as long for a weight that begins small as for one that begins large. Karras et al. store all
    weights on one scale, and multiply them by their layer's deviation where they are used. To multiply the learning
    rate by it gives the same network at every step, and costs nothing.

    Args:
        share: what all rates of this network are multiplied by beside.
    Returns:
        The factor of each weight and bias of linear and convolutional layers, for a `Mover`.
    """
    factors: dict[nn.Parameter, float] = {}
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            weight, own = he_deviation(layer), dict(layer.named_parameters(recurse=False))
            factors |= {one: share * (weight if name == "weight" else 1.0) for name, one in own.items()}
    return factors


@contextlib.contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Within, gradients pass through the networks but none are computed for their weights: a third of the work."""
    trained = [parameter for network in networks for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)

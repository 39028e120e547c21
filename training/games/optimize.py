"""Taking a step: Adam and its rate, gradients and their norms, and which parameters stand still meanwhile."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from training.engine.schedules import Schedule
from training.engine.stage import Moment
from training.options.shared import Optimizer


class Mover:
    """Moves networks by Adam (Kingma & Ba 2015), all their parameters that train in one fused call.

    Args:
        network: what is moved; several networks as an `nn.ModuleList`.
        rate: Adam's rate, at every moment of the run.
    """

    def __init__(self, network: nn.Module, rate: Schedule, options: Optimizer) -> None:
        self.network, self.rate = network, rate
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(trained, betas=(options.beta1, options.beta2), fused=True)

    def at(self, moment: Moment) -> None:
        """Sets the rate of a moment."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(moment)

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

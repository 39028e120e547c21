"""Taking a step: Adam and its rates, gradients and their norms, and which parameters stand still meanwhile."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from training.engine.stage import Moment
from training.options.shared import Optimizer


def adam(network: nn.Module, rate: float, config: Optimizer) -> torch.optim.Adam:
    """Adam (Kingma & Ba 2015) over all parameters that train, in one fused call."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return torch.optim.Adam(trained, rate, (config.beta1, config.beta2), fused=True)


def descend(optimizer: torch.optim.Adam, loss: Tensor) -> None:
    """One step of an optimizer down a loss."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def set_rates(
    optimizer: torch.optim.Adam, rate: float, config: Optimizer, moment: Moment, warmup_kimg: float = 0.0
) -> None:
    """The rate at a moment: rising linearly from 0 over `warmup_kimg`, constant, then falling linearly to 0 over the
    last `decay_kimg` of the run."""
    for length, inside in ((warmup_kimg, moment.images), (config.decay_kimg, moment.total - moment.images)):
        rate *= min(1.0, inside / (length * 1000)) if length else 1.0
    for group in optimizer.param_groups:
        group["lr"] = rate


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


def gradient_norm(network: nn.Module) -> Tensor:
    """The 2-norm of all of a network's gradients together."""
    return torch.nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])


def mean_distance(images: Tensor) -> Tensor:
    """Mean Euclidean distance between all pairs of [n, c, h, w]."""
    return torch.pdist(images.flatten(1).float()).mean()

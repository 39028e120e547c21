"""What a person would watch a GAN's log for, watched for them."""

import math
from collections.abc import Mapping

import torch
from torch import nn

from models import GanError

VANISHING = 1e-3  # of the largest gradient norm that this run has had
COLLAPSED = 0.3  # of the data's mean pairwise distance; healthy runs stay above 0.7

UNTRAINED = 0.05  # of a run


class Diverged(GanError):
    """A loss or a weight is NaN or infinite."""


def weight_sums(networks: Mapping[str, nn.Module]) -> dict[str, float]:
    """One number for each network, which is finite only if all its weights are."""
    return {
        f"weights of {name}": float(torch.stack([p.detach().sum() for p in network.parameters()]).sum())
        for name, network in networks.items()
    }


def check_finite(scalars: Mapping[str, float], snapshot: str) -> None:
    """Stops a run whose numbers are no longer numbers.

    Raises:
        Diverged: naming what is not finite, and the snapshot to go back to.
    """
    bad = [name for name, value in scalars.items() if not math.isfinite(value)]
    if bad:
        raise Diverged(
            f"The run diverged: {', '.join(bad)} is not finite. {snapshot} A lower learning rate, spectral norm or "
            "--precision fp32 may help."
        )


def raised(gradient: float, reference_gradient: float, variety: float | None, done: float) -> list[str]:
    """The sentences to print and log at a tick; usually none.

    Args:
        gradient: mean norm of the generator's gradient over the tick.
        reference_gradient: the largest such norm so far.
        variety: mean pairwise distance of samples over that of data, where it was measured.
        done: share of the run that is behind, 0..1; untrained networks have no variety yet, which is no alarm.
    """
    alarms = []
    if gradient < VANISHING * reference_gradient:
        alarms.append(
            f"vanishing gradient: the generator's is {gradient:.3g}, {gradient / reference_gradient:.1g} of its "
            "largest; the discriminator has won. Try the non-saturating loss, label smoothing, or a lower --d-lr."
        )
    if variety is not None and variety < COLLAPSED and done > UNTRAINED:
        alarms.append(
            f"mode collapse: samples lie {variety:.2f} times as far apart as the data. "
            "Try spectral norm, a gradient penalty, or more discriminator steps."
        )
    return alarms

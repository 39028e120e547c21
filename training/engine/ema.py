"""The exponential moving average of a generator's weights: the one that is sampled, scored and served."""

import copy

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from training.engine.schedules import Schedule
from training.engine.stage import Moment


class Average:
    """A copy of `module` whose weights follow it with a half-life counted in images.

    Averaging weights over the run is Yazici et al. 2019, "The Unusual Effectiveness of Averaging in GAN Training",
    equation 2; the half-life in images (not steps) is Karras et al. 2020. Where it is 0, the average is a plain copy of
    the latest weights.
    """

    def __init__(self, module: nn.Module, half_life: Schedule) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.half_life = half_life

    def restart(self, module: nn.Module) -> None:
        """Forgets what was averaged: from here on the average begins with `module` as it is."""
        self.module.load_state_dict(module.state_dict())

    @torch.no_grad()
    def update(self, module: nn.Module, batch: int, moment: Moment) -> None:
        """Moves towards `module`, at the moment after a step of `batch` images."""
        half_life = self.half_life(moment)
        keep = 0.5 ** (batch / half_life) if half_life > 0 else 0.0
        torch._foreach_lerp_(list(self.module.parameters()), list(module.parameters()), 1 - keep)
        for mine, theirs in zip(self.module.buffers(), module.buffers(), strict=True):
            mine.copy_(theirs)


def standing_statistics(draw: nn.Module, batches: list[tuple[Tensor, ...]]) -> None:
    """Recomputes batch norm's running statistics for the weights as they are, from the given inputs.

    Averaged weights never produced the statistics that the live network tracked. BigGAN (Brock et al. 2019,
    appendix B.1) measures them anew as a plain mean over fresh latents; so do we. Networks without batch norm are
    left alone.
    """
    update_bn([(inputs,) for inputs in batches], _Unpacked(draw).eval())


class _Unpacked(nn.Module):
    """`module`, called with a tuple of its inputs: `update_bn` has one argument to give."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        drawn: Tensor = self.module(*inputs)
        return drawn

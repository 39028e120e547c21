"""Where a game plays: device, precision and share of the batch; and the moment of a run at which a step is taken."""

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training.engine.draws import Draws, generator_of
from training.engine.layers import replace_slow_layers


@dataclass(frozen=True)
class Moment:
    """Where a run stands before a step: `step` steps were done, on `images` images of the `total`."""

    step: int
    images: int
    total: int

    def after(self, images: int) -> "Moment":
        """Where the run stands after this step, on so many images."""
        return Moment(self.step + 1, self.images + images, self.total)


@dataclass(frozen=True)
class Stage:
    """Where a game is played: device, precision and this process's part of each batch."""

    device: torch.device
    bf16: bool
    channels_last: bool
    compile: bool
    rank: int = 0
    world: int = 1
    graphs: bool = False

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def share(self, batch: int) -> slice:
        """This process's part of a batch of `batch`."""
        each = batch // self.world
        return slice(self.rank * each, (self.rank + 1) * each)

    def draws(self, seed: int, step: int, purpose: int, part: int = 0, parts: int = 1) -> Draws:
        """This process's share of the random draws of one purpose of one step, or one of the equal parts of it."""
        generator = generator_of(seed, step, purpose, self.device)
        return Draws(generator, self.rank * parts + part, self.world * parts)

    def batch_mean(self, share: Tensor) -> Tensor:
        """A mean over this process's share of the batch -> the mean over the whole batch.

        The gradient is that of the share: the processes' gradients are averaged afterwards (`for_training`).
        """
        if self.world == 1:
            return share
        whole = share.detach().clone()
        dist.all_reduce(whole)
        return share + (whole / self.world - share.detach())

    def place(self, network: nn.Module) -> nn.Module:
        """Moves a fresh network here, in the memory layout that is fastest here."""
        network = network.to(self.device)
        if not self.channels_last:
            return network
        return replace_slow_layers(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def for_training(self, network: nn.Module) -> nn.Module:
        """The network to call where its weights are to be trained: compiled where the run asks for it, and with
        gradients that are averaged over all processes."""
        if self.compile:
            # graphs of fixed shapes: small networks wait for the launch of their kernels more than for the kernels
            network.compile(mode="reduce-overhead", dynamic=False)
        if self.world == 1:
            return network
        ids = [self.device.index or 0] if self.device.type == "cuda" else None
        # Buffers stay local: batch norm's are measured anew before use, spectral norm's are equal everywhere.
        return nn.parallel.DistributedDataParallel(network, device_ids=ids, forward_sync_buffers=False)

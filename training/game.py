"""What the loop knows of a game: its players, one step, and what to show and save. DCGAN and CycleGAN are two.

All randomness of a step is a function of (seed, step), so a resumed run draws what it would have drawn; and it is drawn
for the whole batch, of which each process takes its share, so two processes see what one would (`training/draws.py`).
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from models import InputError, Metadata, faster_in_bfloat16
from models.images import Pixels
from training.config import Machine, Optimizer, Pace
from training.distributed import World
from training.draws import Draws, generator_of
from training.ema import Average
from training.layers import replace_slow_layers
from training.pool import ImagePool

Scalars = dict[str, Tensor]


@dataclass(frozen=True)
class Players:
    """All that training changes, by name: what a snapshot holds."""

    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Adam]
    averages: dict[str, Average]
    pools: dict[str, ImagePool] = field(default_factory=dict)


@dataclass(frozen=True)
class Moment:
    """Where a run stands before a step: `step` steps were done, on `images` images of the `total`."""

    step: int
    images: int
    total: int


class Game(Protocol):
    """One kind of adversarial training."""

    players: Players
    images_per_step: int
    data_seconds: float  # that the last step spent on getting its images
    data_bytes: int  # of images held in memory

    def step(self, moment: Moment) -> Scalars:
        """Trains every player once; returns what to log, as scalar tensors on the device."""
        ...

    def rehearse(self) -> int:
        """The forward passes of one step on a few images, without training; returns how many images."""
        ...

    def refresh(self) -> None:
        """Makes the averages ready to be shown, scored and saved."""
        ...

    def picture(self) -> Pixels:
        """A sheet of samples that stay comparable over the run, uint8 [h, w, c]."""
        ...

    def variety(self) -> float:
        """Mean pairwise distance of samples over that of data: near 0 where the generator has collapsed."""
        ...

    def evaluations(self) -> "dict[str, Evaluation]":
        """What to score during training: pairs of generated images and what they should resemble."""
        ...

    def weights(self) -> dict[str, nn.Module]:
        """The parts of the inference checkpoint."""
        ...

    def metadata(self) -> Metadata:
        """The checkpoint's metadata, as far as the game knows it."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """One distance to measure.

    fakes: called with n, gives n generated images (or as many as there are sources to translate) in batches,
        uint8 [b, h, w, c].  reference: the real images, uint8 [n, h, w, c].
    """

    fakes: Callable[[int], Iterator[Pixels]]
    reference: Tensor


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

    def draws(self, seed: int, step: int, purpose: int) -> Draws:
        """This process's share of the random draws of one purpose of one step."""
        return Draws(generator_of(seed, step, purpose, self.device), self.rank, self.world)

    def batch_mean(self, share: Tensor) -> Tensor:
        """A mean over this process's share of the batch -> the mean over the whole batch.

        The gradient is that of the share: the processes' gradients are averaged afterwards (`synced`).
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

    def synced(self, network: nn.Module) -> nn.Module:
        """The network to call where its weights are to be trained: gradients are averaged over all processes."""
        if self.compile:
            # graphs of fixed shapes: small networks wait for the launch of their kernels more than for the kernels
            network.compile(mode="reduce-overhead", dynamic=False)
        if self.world == 1:
            return network
        ids = [self.device.index or 0] if self.device.type == "cuda" else None
        # Buffers stay local: batch norm's are measured anew before use, spectral norm's are equal everywhere.
        return nn.parallel.DistributedDataParallel(network, device_ids=ids, forward_sync_buffers=False)


def stage(machine: Machine, pace: Pace, rank: int = 0, world: int = 1) -> Stage:
    """Settles what the configuration leaves to the machine.

    Raises:
        InputError: a device that is not there, a batch that does not divide, compile or graphs without a GPU.
    """
    wanted = machine.device
    if wanted == "auto":
        wanted = f"cuda:{rank % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {wanted} cannot be used here: {error}", where="device") from error
    for name in ("compile", "graphs"):
        if getattr(machine, name) and device.type != "cuda":
            raise InputError(f"--{name} is for GPUs; this run is on {device.type}.", where=name)
    if machine.graphs and world > 1:
        raise InputError(f"--graphs is for one process; this run has {world}.", where="graphs")
    if pace.batch % world:
        raise InputError(f"--batch {pace.batch} does not divide among {world} processes.", where="batch")
    bf16 = machine.precision == "bf16"
    if machine.precision == "auto":
        bf16 = World(rank, world).all(faster_in_bfloat16(device))
    return Stage(device, bf16, machine.channels_last, machine.compile, rank, world, machine.graphs)


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

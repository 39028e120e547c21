"""How the classifier learns: the recipe of Jordan 2024 (airbench94), step by step, resumed at any of them.

Stochastic gradient descent with Nesterov's momentum; a rate that rises and falls in a triangle; labels smoothed;
weights drawn back to a slow average of themselves every fifth step (Zhang et al. 2019, "Lookahead"). Images are moved
by up to two pixels, and mirrored in every other epoch, half of them in the even ones, the rest in the odd (section
3.6).
Everything drawn is a function of (seed, number), so a run that was stopped goes on as if it had not been.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from models import Airbench, AirbenchConfig, InputError, atomic_path, faster_in_bfloat16, to_float
from training.data.images import Dataset, indices
from training.engine.draws import generator_of

WEIGHTS, MIRROR, SHIFT = range(3)  # purposes of draws
_KEPT_EVERY = 25  # steps
_SLOW_EVERY = 5  # steps
_WHITENING_IMAGES = 5_000
_WHITENING_EPOCHS = 3.0  # in which the bias of the whitening is trained

Progress = Callable[[int, int, float], None]
"""Called with steps done, steps in all and the step's loss."""


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained; the paper's values by default, but for batches half as large.

    Attributes:
        epochs: passes over the training images.
        batch: images a step; all of them, where there are fewer.
        rate: of the largest steps, for 1,024 images, whatever the momentum.
        bias_rate: how many times faster the shifts of batch norm learn.
        decay: of weights, for 1,024 images, whatever the rate.
        smoothing: of labels.
        shift: pixels that an image is moved by at most.
        seed: of weights, order and augmentation.
    """

    epochs: float = 10.0
    batch: int = 512
    rate: float = 11.5
    momentum: float = 0.85
    bias_rate: float = 64.0
    decay: float = 0.0153
    smoothing: float = 0.2
    shift: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.epochs <= 10_000:
            raise InputError(f"Epochs are more than 0 and at most 10,000, not {self.epochs:g}.", where="epochs")

    def steps(self, images: int) -> int:
        """Of a run over so many training images."""
        return max(1, round(self.epochs * images / min(self.batch, images)))


def learn(
    data: Dataset, width: int, recipe: Recipe, *, device: str = "cpu", kept: Path | None = None, progress: Progress
) -> Airbench:
    """A classifier of the data's classes, trained from its first step or from where it was stopped; in eval mode.

    Args:
        data: images uint8 [n, s, s, c] with labels.
        width: of the network, see `AirbenchConfig`.
        kept: a file that holds the run every 25 steps, and from which it goes on.
    Raises:
        InputError: the file holds another run, or none; the data has no labels.
    """
    if data.labels is None:
        raise InputError(f"{data.name} has no classes to learn.", where="data")
    size, channels = data.pixels.shape[1], data.pixels.shape[3]
    config = AirbenchConfig(size, channels, len(data.classes), width)
    with torch.random.fork_rng([]):
        torch.manual_seed(int(generator_of(recipe.seed, 0, WEIGHTS).initial_seed()))
        network = Airbench(config)
    network.whiten(to_float(data.pixels[indices(recipe.seed, 0, min(len(data), _WHITENING_IMAGES), len(data))].numpy()))
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = _Run(network, recipe, len(data))
    about = json.dumps([data.digest, dataclasses.asdict(config), dataclasses.asdict(recipe)])
    if kept is not None and kept.exists():
        run.restore(_read(kept, about))
    bf16 = faster_in_bfloat16(torch.device(device))
    while run.step < run.steps:
        start = run.step * run.batch
        chosen = indices(recipe.seed, start, start + run.batch, len(data))
        images = augmented(data.pixels, chosen, start, recipe).to(device, memory_format=torch.channels_last)
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
            loss = run.take(images, data.labels[chosen].to(device))
        progress(run.step, run.steps, loss)
        if kept is not None and (run.step % _KEPT_EVERY == 0 or run.step == run.steps):
            with atomic_path(kept) as temporary:
                torch.save({"about": about, **run.state()}, temporary)
    return network.eval().requires_grad_(False).cpu()


def _read(path: Path, about: str) -> dict[str, Any]:
    try:
        held = torch.load(path, weights_only=True)
    except Exception as error:  # what is no file of torch's raises nearly anything
        raise InputError(f"{path} holds no run of a classifier: {type(error).__name__}. Remove it to begin.") from error
    if not isinstance(held, dict) or held.get("about") != about:
        raise InputError(
            f"{path} holds a run on other images, or with other options: give them again, or another folder.",
            where="out",
        )
    return held


class _Run:
    """Network, slow average and optimizer at a step of the run."""

    def __init__(self, network: Airbench, recipe: Recipe, images: int) -> None:
        self.network, self.recipe = network, recipe
        self.batch, self.steps, self.step = min(recipe.batch, images), recipe.steps(images), 0
        self.bias_until = round(_WHITENING_EPOCHS * images / self.batch)
        self.slow = {name: value.clone() for name, value in self._averaged()}
        # with constant gradients Nesterov's momentum makes steps so many times larger, and the loss is a sum
        scale = 1024 * (1 + 1 / (1 - recipe.momentum))
        rate, decay = recipe.rate / scale, recipe.decay * self.batch / scale
        shifts = [p for name, p in network.named_parameters() if p.requires_grad and "norms" in name]
        rest = [p for name, p in network.named_parameters() if p.requires_grad and "norms" not in name]
        groups = [
            {"params": some, "lr": each, "peak": each, "weight_decay": decay / each}
            for some, each in ((shifts, rate * recipe.bias_rate), (rest, rate))
        ]
        self.optimizer = torch.optim.SGD(groups, lr=rate, momentum=recipe.momentum, nesterov=True)

    def take(self, images: Tensor, labels: Tensor) -> float:
        """One step on images [b, c, s, s] in [-1, 1]; returns their mean loss."""
        self.network.train()
        assert self.network.whitening.bias is not None
        self.network.whitening.bias.requires_grad_(self.step < self.bias_until)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * _triangle(self.step / self.steps)
        logits = self.network(images).float()
        loss = cross_entropy(logits, labels, label_smoothing=self.recipe.smoothing, reduction="sum")
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        if self.step == self.steps:
            self._draw_back(1.0)
        elif self.step % _SLOW_EVERY == 0:
            self._draw_back(0.95**5 * (self.step / self.steps) ** 3)
        return float(loss.detach()) / len(images)

    @torch.no_grad()
    def _draw_back(self, keep: float) -> None:
        """The slow average takes in the weights, keeping so much of itself; then they become it."""
        for name, value in self._averaged():
            value.copy_(self.slow[name].lerp_(value, 1 - keep))

    def _averaged(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, value) for name, value in self.network.state_dict().items() if value.is_floating_point())

    def state(self) -> dict[str, Any]:
        """All that changes from step to step."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "slow": self.slow,
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, held: dict[str, Any]) -> None:
        """Goes on from a `state`."""
        self.step, self.slow = held["step"], held["slow"]
        self.network.load_state_dict(held["network"])
        self.optimizer.load_state_dict(held["optimizer"])


def _triangle(done: float, start: float = 0.2, peak: float = 0.23, end: float = 0.07) -> float:
    """The rate's share of its largest at a share of the run: from `start` up to 1 at `peak`, and down to `end`."""
    if done < peak:
        return start + (1 - start) * done / peak
    return 1 - (1 - end) * (done - peak) / (1 - peak)


def augmented(pixels: Tensor, chosen: Tensor, start: int, recipe: Recipe) -> Tensor:
    """The chosen of the images uint8 [n, s, s, c] as float32 [b, c, s, s] in [-1, 1], mirrored and moved.

    Args:
        start: the run's number of the first of them, which says their epoch and their draws.
    """
    count, side, reach = len(pixels), pixels.shape[1], recipe.shift
    epochs = (start + torch.arange(len(chosen))) // count
    heads = torch.randint(2, (count,), generator=generator_of(recipe.seed, 0, MIRROR))[chosen]
    images = to_float(pixels[chosen].numpy())
    images = torch.where(((heads + epochs) % 2 == 1)[:, None, None, None], images.flip(3), images)
    corners = torch.randint(2 * reach + 1, (len(chosen), 2), generator=generator_of(recipe.seed, start, SHIFT))
    rows, columns = (corners[:, axis, None] + torch.arange(side) for axis in range(2))
    around = pad(images, (reach,) * 4, "reflect")
    numbers = torch.arange(len(chosen))[:, None, None]
    return around.permute(0, 2, 3, 1)[numbers, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@torch.inference_mode()
def logits_of(network: nn.Module, pixels: Tensor, *, views: bool = False, batch: int = 500) -> Tensor:
    """The logits of images uint8 [n, s, s, c], float32 [n, classes].

    Args:
        views: the mean over an image, its mirror image, and both moved by a pixel to either corner (section 3.5).
    """
    return torch.cat([_seen(network, to_float(some.numpy()), views) for some in pixels.split(batch)])


def _seen(network: nn.Module, images: Tensor, views: bool) -> Tensor:
    if not views:
        return network(images)
    side = images.shape[-1]
    around = pad(images, (1,) * 4, "reflect")
    straight, *moved = (
        (network(view) + network(view.flip(3))) / 2 for view in (images, around[..., :side, :side], around[..., 2:, 2:])
    )
    return straight / 2 + sum(moved) / 4


def accuracy(network: nn.Module, data: Dataset, *, views: bool = False) -> float:
    """The share of the images whose class the network names; `views` as `logits_of`."""
    assert data.labels is not None
    named = logits_of(network, data.pixels, views=views).argmax(dim=1)
    return float((named == data.labels).double().mean())

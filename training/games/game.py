"""What the loop knows of a game: its players, one step, and what to show and save. DCGAN and CycleGAN are two.

All randomness of a step is a function of (seed, step), so a resumed run draws what it would have drawn; and it is drawn
for the whole batch, of which each process takes its share, so two processes see what one would
(`training/engine/draws.py`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from models import Metadata
from models.images import Pixels
from training.engine.ema import Average
from training.engine.stage import Moment
from training.games.pool import ImagePool

Scalars = dict[str, Tensor]


@dataclass(frozen=True)
class Players:
    """All that training changes, by name: what a snapshot holds."""

    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Adam]
    averages: dict[str, Average]
    pools: dict[str, ImagePool] = field(default_factory=dict)


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

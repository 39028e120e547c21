"""What the loop knows of a game: its players, one step, and the family of what it gives.

A game is how networks are trained: a paper's step. What they give (a sampler, a translator) is shown, scored and saved
by a `Family`, whatever the game. A game stands in a file of its own, with its options beside it, and registers itself:

    @game
    class DCGAN(Game):
        Run, about = DCGANRun, "Train a sampler ..."       # its options, from which its flags are made, and its help

All randomness of a step is a function of (seed, step), so a resumed run draws what it would have drawn; and it is drawn
for the whole batch, of which each process takes its share, so two processes see what one would
(`training/engine/draws.py`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, nn

from models import load_without_spectral_norm
from training.engine.ema import Average
from training.engine.stage import Moment, Stage
from training.games.family import Family
from training.options.run import Run


class Data(Protocol):
    """What a game learns from, in memory."""

    @property
    def digest(self) -> str:
        """64 hexadecimal digits: two runs with one digest learn from the same images."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of images held in memory."""
        ...


class Kept(Protocol):
    """What a process keeps for itself from step to step, such as an image pool. `stored` is its whole state."""

    stored: Tensor


@dataclass(frozen=True)
class Players:
    """All that training changes, by name: what a snapshot holds. An average follows the network of its name."""

    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    averages: dict[str, Average]
    pools: Mapping[str, Kept] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """What a step came to, as scalar tensors on the device.

    Attributes:
        loss_d, loss_g: adversarial losses of the discriminators and of the generators, without penalties.
        gradient_norm: the 2-norm of the generators' gradient.
        extra: what else is to be logged, by its name in the log.
    """

    loss_d: Tensor
    loss_g: Tensor
    gradient_norm: Tensor
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    def scalars(self) -> dict[str, Tensor]:
        """By their names in the log."""
        own = {"loss_d": self.loss_d, "loss_g": self.loss_g, "g_gradient_norm": self.gradient_norm}
        return own | dict(self.extra)


class Game(ABC):
    """One kind of adversarial training. Made from a run's options, its data and the stage it plays on.

    Attributes:
        Run: its options.  about: what it trains, in a sentence for `--help`.
        images_per_step: how many real images a step takes, over all processes.
    """

    Run: ClassVar[type[Run]]
    about: ClassVar[str]

    data: Data
    players: Players
    family: Family
    images_per_step: int
    origin: Mapping[str, Any] = MappingProxyType({})  # what the networks began with, for the checkpoint's metadata

    @staticmethod
    @abstractmethod
    def read(run: Any, *, aloud: bool) -> Data:
        """The data of a run. `aloud`: list on standard error what had to be left out."""

    @abstractmethod
    def __init__(self, run: Any, data: Any, stage: Stage) -> None:
        """Makes the players, from torch's global generator."""

    @abstractmethod
    def step(self, moment: Moment) -> Step:
        """Trains every player once."""

    @property
    @abstractmethod
    def data_seconds(self) -> float:
        """How long getting the images has taken so far."""

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The networks whose averages a checkpoint holds, as they are trained."""
        return {name: self.players.networks[name] for name in self.players.averages}

    def begin_with(self, weights: Mapping[str, Mapping[str, Tensor]], origin: Mapping[str, Any]) -> None:
        """Gives networks the weights of others, in place, before the first step. What is not named stays as it is."""
        self.origin = origin
        for name, state in weights.items():
            load_without_spectral_norm(self.players.networks[name], state)
            if name in self.players.averages:
                self.players.averages[name].restart(self.players.networks[name])


GameType = TypeVar("GameType", bound=type[Game])
_games: dict[str, type[Game]] = {}


def game(cls: GameType) -> GameType:
    """Enters a game into the table, under the `kind` of its runs."""
    _games[kind_of(cls.Run)] = cls
    return cls


def games() -> Mapping[str, type[Game]]:
    """Every game, by the word for it on the command line and in a configuration."""
    return _games


def kind_of(run: type[Run]) -> str:
    """The word for a kind of run."""
    kind: str = run.model_fields["kind"].default
    return kind

"""What all readers of foreign layouts share: what a file does not say, and what is done with it."""

from dataclasses import dataclass
from typing import Literal

import torch

from models.architectures import Architecture
from models.errors import CheckpointError

State = dict[str, torch.Tensor]
Read = tuple[Architecture, State]


@dataclass(frozen=True)
class Told:
    """What the tensors do not say; None: as the family's own code has it.

    padding: of a ResNet's blocks, where it is not zeros ("reflect").  activation: between a DCGAN's layers ("relu").
    output: the last layer; a sigmoid's [0, 1] becomes [-1, 1] ("tanh").
    """

    padding: Literal["reflect", "replicate"] | None = None
    activation: Literal["relu", "leaky_relu"] | None = None
    output: Literal["tanh", "sigmoid"] | None = None


def refuse(value: str | None, what: str, reason: str) -> None:
    """Raises CheckpointError where something was told of a family that has no choice in it."""
    if value is not None:
        raise CheckpointError(f"{reason}: leave --{what} {value} out.")


def as_tanh(ours: State, last: str, told: Told) -> State:
    """A sigmoid's [0, 1] taken to [-1, 1] is a tanh of half the input: 2 / (1 + exp(-x)) - 1 = tanh(x / 2).

    Args:
        last: the name of the last layer's weight.
    """
    if told.output == "sigmoid":
        for name in (last, last.replace(".weight", ".bias")):
            if name in ours:
                ours[name] = ours[name] / 2
    return ours

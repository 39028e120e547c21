"""From class labels to the weights that a conditional generator takes."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field

import models
from models.errors import InputError

ClassLabel = Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1, max_length=200)]


def default_classes(network: models.Generator, seeds: Sequence[int]) -> list[ClassLabel] | None:
    """The class of each seed where none is asked for: of the seed alone, so that the image can be made again."""
    return [seed % len(network.classes) for seed in seeds] if network.classes else None


def class_weights(
    network: models.Generator, labels: ClassLabel | list[ClassLabel] | None, count: int
) -> torch.Tensor | None:
    """Rows with a single 1, float32 [count, classes], from class numbers or names; None for none. A form has only text:
    there "3" is the class of that name or, where there is none, of that number.

    Raises:
        InputError: the model has no classes, or not this one.
    """
    if labels is None:
        return None
    names = network.classes
    if not names:
        raise InputError("This model has no classes; leave the class out.", where="class")
    known: dict[ClassLabel, int] = {key: number for number in range(len(names)) for key in (number, str(number))}
    known |= {name: number for number, name in enumerate(names)}
    each = labels if isinstance(labels, list) else [labels] * count
    for label in each:
        if label not in known:
            sentence = f"This model has no class {label!r}; it has: {', '.join(names)} (or 0 to {len(names) - 1})."
            raise InputError(sentence, where="class")
    return torch.nn.functional.one_hot(torch.tensor([known[label] for label in each]), len(names)).float()

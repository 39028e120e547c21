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
    """Rows with a single 1, float32 [count, classes], from class numbers or names; None for none.

    Raises:
        InputError: the model has no classes, or not this one.
    """
    if labels is None:
        return None
    each = labels if isinstance(labels, list) else [labels] * count
    numbers = [_class_number(network, label) for label in each]
    return torch.nn.functional.one_hot(torch.tensor(numbers), len(network.classes)).float()


def _class_number(network: models.Generator, label: ClassLabel) -> int:
    if not network.classes:
        raise InputError("This model has no classes; leave the class out.", where="class")
    if isinstance(label, str) and label in network.classes:
        return network.classes.index(label)
    if isinstance(label, int) and label < len(network.classes):
        return label
    raise InputError(
        f"This model has no class {label!r}; it has: {', '.join(network.classes)} (or 0 to "
        f"{len(network.classes) - 1}).",
        where="class",
    )

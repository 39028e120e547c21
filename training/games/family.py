"""What a game gives, whatever the game: shown, scored and saved. The families are `sampler.py`, `autoencoder.py` and
`translator.py`."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from models import Metadata
from models.images import Pixels
from training.data.images import Dataset


@dataclass(frozen=True)
class Evaluation:
    """One distance to measure.

    Attributes:
        fakes: called with n, gives n generated images (or as many as there are sources to translate) in batches,
            uint8 [b, h, w, c].
        reference: what they should resemble: real images, uint8 [n, h, w, c], or the path of statistics, a folder or an
            archive.
        about: what a reader of the score should know of the generated images, for the checkpoint's metadata.
    """

    fakes: Callable[[int], Iterator[Pixels]]
    reference: Tensor | str
    about: Mapping[str, Any] = field(default_factory=dict)


class Family(Protocol):
    """What a game gives: how it is shown, scored and saved."""

    def refresh(self) -> None:
        """Makes the averages ready to be shown, scored and saved."""
        ...

    def picture(self) -> Pixels:
        """A sheet of samples that stay comparable over the run, uint8 [h, w, c]."""
        ...

    def variety(self) -> float | None:
        """Mean pairwise distance of samples over that of data: near 0 where the generator has collapsed.

        None where the data has no distance to compare with: one image, or all of them equal.
        """
        ...

    def evaluations(self) -> Mapping[str, Evaluation]:
        """What to score during training, by name; "" where there is but one."""
        ...

    def own_scores(self) -> Mapping[str, dict[str, Any]]:
        """Scores that are no distance between sets, by name; "value" of each is the number. Most families have none."""
        ...

    def weights(self) -> dict[str, nn.Module]:
        """The parts of the inference checkpoint."""
        ...

    def metadata(self) -> Metadata:
        """The checkpoint's metadata, as far as the family knows it."""
        ...


def told(data: Dataset, *, aloud: bool) -> Dataset:
    """The same data; what was left out of it is listed on standard error."""
    for reason in data.skipped if aloud else ():
        print(f"skipped: {reason}", file=sys.stderr)
    return data


def variety(fake: Tensor, real: Tensor) -> float | None:
    """Mean pairwise distance of generated images over that of real ones, both [n, c, h, w]; see `Family.variety`."""
    if min(len(fake), len(real)) < 2 or not (apart := mean_distance(real)):
        return None
    return mean_distance(fake) / apart


def mean_distance(images: Tensor) -> float:
    """Mean Euclidean distance between all pairs of [n, c, h, w]."""
    return float(torch.pdist(images.flatten(1).float()).mean())

"""Numbers that change over a run, as functions of its moment: rates, noise, chances, weights of penalties."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from training.engine.stage import Moment


def _never(total: int) -> float:
    return math.inf


@dataclass(frozen=True)
class Schedule:
    """A number at each moment of a run.

    Attributes:
        value: the number, of a moment.
        begins: of a run's length in images: after how many of them the number begins to depend on that length. Until
            then the run can be made longer, and all that was done would have been done the same.
    """

    value: Callable[[Moment], float]
    begins: Callable[[int], float] = _never

    def __call__(self, moment: Moment) -> float:
        return self.value(moment)

    def __mul__(self, other: "Schedule") -> "Schedule":
        return Schedule(
            lambda moment: self(moment) * other(moment),
            lambda total: min(self.begins(total), other.begins(total)),
        )


def constant(value: float) -> Schedule:
    """The same number all along."""
    return Schedule(lambda moment: value)


def rising(kimg: float) -> Schedule:
    """From 0 to 1, linearly, over the run's first `kimg` thousand images; 0: 1 all along."""
    if kimg == 0:
        return constant(1.0)
    return Schedule(lambda moment: min(1.0, moment.images / (kimg * 1000)))


def falling(kimg: float) -> Schedule:
    """From 1 to 0, linearly, over the run's last `kimg` thousand images; 0: 1 all along."""
    if kimg == 0:
        return constant(1.0)
    length = kimg * 1000
    return Schedule(lambda moment: min(1.0, (moment.total - moment.images) / length), lambda total: total - length)


def fading() -> Schedule:
    """From 1 to 0, linearly, over the whole run."""
    return Schedule(lambda moment: 1 - moment.images / moment.total, lambda total: 0.0)

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


def annealing(start: float, end: float, kimg: float) -> Schedule:
    """From `start` to `end` along half a cosine, over the run's first `kimg` thousand images; `end` from there on.

    Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts", equation 5, without restarts.
    """
    if kimg == 0:
        return constant(end)

    def value(moment: Moment) -> float:
        done = min(1.0, moment.images / (kimg * 1000))
        return end + (start - end) * (1 + math.cos(math.pi * done)) / 2

    return Schedule(value)


def growing(share: float, most: float) -> Schedule:
    """A share of the images seen so far, and never above `most`."""
    return Schedule(lambda moment: min(most, share * moment.images))


def fading() -> Schedule:
    """From 1 to 0, linearly, over the whole run."""
    return Schedule(lambda moment: 1 - moment.images / moment.total, lambda total: 0.0)

"""Figures between two ticks: means of what the steps returned, speed, share of time spent on data, memory."""

import resource
import time
from collections.abc import Mapping

import torch
from torch import Tensor

from metrics import World


class Meter:
    """Sums on the device, read once a tick, so that a GPU is not waited for at every step.

    `data_seconds`, here and below: how long the game has taken to get its images, since its first step.
    """

    def __init__(self) -> None:
        self._data_seconds = 0.0
        self._clear(0.0)

    def _clear(self, data_seconds: float) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps, self._images = 0, 0
        self._data_seconds = data_seconds
        self._started = time.perf_counter()

    def add(self, scalars: Mapping[str, Tensor], images: int) -> None:
        """Counts one step."""
        for name, value in scalars.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._steps += 1
        self._images += images

    def read(self, world: World, data_seconds: float) -> dict[str, float]:
        """Means since the last reading, over all processes, and starts anew."""
        means = {name: float(total) / self._steps for name, total in self._sums.items()}
        seconds = time.perf_counter() - self._started
        line = world.mean(means | {"data_share": (data_seconds - self._data_seconds) / seconds})
        line |= {"tick_seconds": seconds, "images_per_s": self._images / seconds, "memory_mb": _peak_memory_mb()}
        self._clear(data_seconds)
        return line

    def restart(self) -> None:
        """Leaves the time since the last reading (scoring, saving) out of the next tick's speed."""
        self._started = time.perf_counter()


def _peak_memory_mb() -> float:
    """The most that this process has held: on a GPU its memory, else resident memory. MiB."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

"""Figures between two ticks: means of what the steps returned, speed, share of time spent on data, memory."""

import resource
import time

import torch
from torch import Tensor

from metrics import World
from training.games.kinds import Run


class Meter:
    """Sums on the device, read once a tick, so that a GPU is not waited for at every step."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps, self._images, self._data_seconds = 0, 0, 0.0
        self._started = time.perf_counter()

    def add(self, scalars: dict[str, Tensor], images: int, data_seconds: float) -> None:
        """Counts one step."""
        for name, value in scalars.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._steps += 1
        self._images += images
        self._data_seconds += data_seconds

    def read(self, world: World) -> dict[str, float]:
        """Means since the last reading, over all processes, and starts anew."""
        means = {name: float(total) / self._steps for name, total in self._sums.items()}
        seconds = time.perf_counter() - self._started
        line = world.mean(means | {"data_share": self._data_seconds / seconds})
        line |= {"tick_seconds": seconds, "images_per_s": self._images / seconds, "memory_mb": _peak_memory_mb()}
        self._clear()
        return line

    def restart(self) -> None:
        """Leaves the time since the last reading (scoring, saving) out of the next tick's speed."""
        self._started = time.perf_counter()


class Due:
    """Whether something that happens every so many kimg is due: the run has just passed a multiple of it."""

    def __init__(self, run: Run, images_per_step: int) -> None:
        self.rhythm = {
            "tick": run.pace.tick_kimg,
            "sample": run.pace.sample_kimg,
            "snapshot": run.pace.snapshot_kimg,
            "fid": run.watch.fid_kimg,
        }
        self.images_per_step = images_per_step

    def __call__(self, what: str, images: int) -> bool:
        every = self.rhythm[what] * 1000
        return every > 0 and images // every > (images - self.images_per_step) // every


def _peak_memory_mb() -> float:
    """The most that this process has held: on a GPU its memory, else resident memory. MiB."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

"""Several processes, started by `torchrun`: who am I, wait for the others, agree."""

import contextlib
import datetime
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

PATIENCE = datetime.timedelta(hours=12)  # the others wait while the first scores and saves


@dataclass(frozen=True)
class World:
    """This process among all: `rank` 0 writes files and prints."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        if self.size == 1:
            return flag
        flags = torch.tensor(int(flag))
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags)

    def all(self, flag: bool) -> bool:
        """Whether the flag is up in every process."""
        return not self.any(not flag)

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Each value averaged over the processes."""
        if self.size == 1 or not values:
            return values
        stacked = torch.tensor(list(values.values()), dtype=torch.float64)
        dist.all_reduce(stacked)
        return dict(zip(values, (stacked / self.size).tolist(), strict=True))

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in order of rank, for the first process; empty for the others."""
        if self.size == 1:
            return [value]
        gathered: list[Any] | None = [None] * self.size if self.first else None
        dist.gather_object(value, gathered)
        return gathered or []

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.size > 1:
            dist.barrier()


@contextlib.contextmanager
def joined() -> Iterator[World]:
    """The world of this process: alone, or one of those that `torchrun` started.

    Gradients travel by NCCL between GPUs and by gloo between CPUs; flags, figures and pools by gloo always.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield World()
        return
    if dist.is_initialized():  # by who called us: it stays theirs to end
        yield World(dist.get_rank(), dist.get_world_size())
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield World(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()

"""Several processes, started by `torchrun`: who am I, wait for the others, agree.

A score splits its images over them, a training run its batches. Without torchrun there is one process.
"""

import contextlib
import datetime
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from models import GanError, InputError

PATIENCE = datetime.timedelta(hours=12)  # the others wait while the first scores and saves
_MEETING = datetime.timedelta(minutes=10)  # within which all must have started
_TORCHRUN = ("RANK", "MASTER_ADDR", "MASTER_PORT")  # what it sets beside WORLD_SIZE


class ProcessLost(GanError):
    """Another process ended, or cannot be reached any more."""


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

    def share(self, value: Any) -> list[Any]:
        """Every process's value, in order of rank, for every process."""
        if self.size == 1:
            return [value]
        shared: list[Any] = [None] * self.size
        dist.all_gather_object(shared, value)
        return shared

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.size > 1:
            dist.barrier()


def world() -> World:
    """The processes that were joined, or this one alone."""
    if dist.is_available() and dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size())
    return World()


@contextlib.contextmanager
def joined() -> Iterator[World]:
    """The world of this process: alone, or one of those that `torchrun` started.

    Gradients travel by NCCL between GPUs and by gloo between CPUs; flags, figures, features and pools by gloo always.

    Raises:
        InputError: the environment speaks of several processes, but is not torchrun's, or the others do not come.
        ProcessLost: within, something was asked of a process that has ended.
    """
    if world().size > 1 or not _started_by_torchrun():  # joined by who called us: it stays theirs to end
        yield world()
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        store, rank, size = next(dist.rendezvous("env://", timeout=_MEETING))
        store = _of_this_attempt(store, rank, size)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"The processes that WORLD_SIZE and RANK speak of did not meet ({error}): start all of them with torchrun, "
            "or unset WORLD_SIZE for one process alone."
        ) from error
    try:
        yield world()
    except RuntimeError as error:
        if not _is_of_the_network(error):
            raise
        raise ProcessLost(
            f"Process {rank} of {size} ends, because another one has ended or cannot be reached ({_cause(error)})."
        ) from error
    finally:
        dist.destroy_process_group()


def _of_this_attempt(store: dist.Store, rank: int, size: int) -> dist.Store:
    """A part of the store that the processes of this attempt alone know.

    `torchrun --max-restarts` keeps one store for all attempts, so that a process may find the address of one that was
    killed before, and waits for it (pytorch/pytorch#135712). The number of restarts would not tell attempts apart: each
    machine counts its own. So each process says a word that nobody said before, and the first answers to that word.

    Raises:
        RuntimeError: the others do not come in time.
    """
    mine = secrets.token_hex(8)
    if rank > 0:
        store.set(f"word/{rank}", mine)
        attempt = store.get(f"answer/{mine}").decode()  # waits
        store.set(f"{attempt}/here/{rank}", "")
        return dist.PrefixStore(attempt, store)
    missing = list(range(1, size))
    until = time.monotonic() + _MEETING.total_seconds()
    while missing:
        for other in missing:
            if store.check([f"word/{other}"]):  # said in this attempt or before it, where nobody reads the answer
                store.set(f"answer/{store.get(f'word/{other}').decode()}", mine)
        time.sleep(0.02)
        missing = [other for other in missing if not store.check([f"{mine}/here/{other}"])]
        if time.monotonic() > until:
            raise RuntimeError(f"processes {', '.join(map(str, missing))} did not come")
    return dist.PrefixStore(mine, store)


def _cause(error: RuntimeError) -> str:
    """What gloo says between the place in its source and its advice."""
    return str(error).partition("] ")[2].partition(". ")[0] or type(error).__name__


def _is_of_the_network(error: RuntimeError) -> bool:
    """Whether a collective operation failed; gloo raises no type of its own, but names its source file."""
    return isinstance(error, dist.DistBackendError | dist.DistNetworkError) or "gloo/transport" in str(error)


def _started_by_torchrun() -> bool:
    """Whether there are several processes; clusters set WORLD_SIZE too, for programs of other kinds."""
    said = os.environ.get("WORLD_SIZE") or "1"
    if said == "1":
        return False
    if missing := [name for name in _TORCHRUN if not os.environ.get(name)]:
        raise InputError(
            f"WORLD_SIZE is {said} in the environment, but {' and '.join(missing)} not set: start with torchrun for "
            "several processes, or unset WORLD_SIZE for one.",
            where="WORLD_SIZE",
        )
    return True

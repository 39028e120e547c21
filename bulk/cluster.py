"""The machines that do the work: a cluster of Ray, or this machine's cores as one.

Ray hands out processors by number. Where actors hold all of them, none is left for the tasks that read, and the run
waits for ever without a word: so one processor is always left over.
"""

import contextlib
import logging
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from ray.data import ActorPoolStrategy

from models import InputError

ROOT = Path(__file__).resolve().parents[1]
_ROOMS = ("models", "metrics", "bulk")
_OBJECTS = 512 << 20  # bytes of shared memory for what is under way; there are a few images for each actor


@dataclass(frozen=True)
class Actors:
    """How many actors work at a time, and whether each has a GPU."""

    count: int
    gpu: bool

    @property
    def options(self) -> dict[str, Any]:
        """As `ray.data.Dataset.map` takes them."""
        return {"compute": ActorPoolStrategy(size=self.count), "num_cpus": 1, "num_gpus": int(self.gpu)}


@contextlib.contextmanager
def connected(address: str | None, actors: int | None) -> Iterator[Actors]:
    """Starts Ray on this machine, or connects to a cluster, for the length of a run.

    Args:
        address: of a cluster, as `ray.init` takes it ("ray://head:10001", "auto" on one of its machines); None for this
            machine.
        actors: how many are wanted; None for as many as there is room for.
    Raises:
        InputError: nobody answers there, Ray does not start, or there is no room for so many.
    """
    if actors is not None and actors < 1:
        raise InputError(f"--actors is 1 or more, not {actors}.", where="actors")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters to a user is an error of ours
    where = _this_machine(actors) if address is None else _cluster(address)
    try:
        ray.init(**where, logging_level=logging.ERROR, log_to_driver=False)
    except Exception as error:  # Ray raises plain ones too, such as for a machine so busy that its start takes 30 s
        why = str(error).partition("\n")[0]
        raise InputError(f"Ray could not be {'reached' if address else 'started'}: {why}", where="address") from error
    try:
        yield _room_for(actors, ray.cluster_resources())
    finally:
        ray.shutdown()


def _this_machine(actors: int | None) -> dict[str, Any]:
    """For `ray.init`: a cluster of this machine, with a processor for each actor and one to read."""
    count = actors or torch.cuda.device_count() or os.cpu_count() or 1
    return {
        "address": "local",
        "num_cpus": count + 1,
        "include_dashboard": False,
        "object_store_memory": _OBJECTS,
        "runtime_env": {"env_vars": {"PYTHONPATH": str(ROOT)}},
    }


def _cluster(address: str) -> dict[str, Any]:
    """For `ray.init`: machines that are sent our code, for no package of it can be installed there.

    Raises:
        InputError: nobody listens there. Ray itself would try for minutes.
    """
    found = re.fullmatch(r"(?:ray://)?(?P<host>[^:/]+):(?P<port>\d{1,5})", address)
    if not found and address != "auto":
        raise InputError(f"--address is as ray://HOST:10001, HOST:6379 or auto, not {address!r}.", where="address")
    if found:
        try:
            socket.create_connection((found["host"], int(found["port"])), 10).close()
        except (OSError, OverflowError) as error:
            raise InputError(f"No cluster of Ray answers at {address}: {error}.", where="address") from error
    rooms = [str(ROOT / room) for room in _ROOMS]
    return {"address": address, "runtime_env": {"py_modules": rooms, "excludes": ["pretrained/"]}}


def _room_for(actors: int | None, resources: dict[str, float]) -> Actors:
    """As many actors as were wanted, or as fit with one processor to spare; raises InputError where they do not fit."""
    processors, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    most = min(processors - 1, gpus) if gpus else processors - 1
    if most < 1:
        raise InputError(f"The cluster has {processors} processors: an actor needs one, and reading another.")
    if actors is not None and actors > most:
        raise InputError(
            f"There is room for {most} actors: the cluster has {processors} processors, of which reading needs one"
            f"{f', and {gpus} GPUs' if gpus else ''}. Ask for fewer by --actors.",
            where="actors",
        )
    return Actors(actors or most, bool(gpus))

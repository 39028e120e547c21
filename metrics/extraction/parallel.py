"""Extraction split over processes or machines, as `torchrun` starts them.

Process i of k takes images i, i + k, i + 2k, ..; afterwards the parts are put together, so that every process holds
what one process alone would hold. Without torchrun there is one process and nothing to put together.
"""

import contextlib
import os
from collections.abc import Iterator

import numpy as np
import torch.distributed as dist

from metrics.sets.moments import Accumulator, Features


def rank_and_world() -> tuple[int, int]:
    """(number of this process, number of processes); (0, 1) where nothing was split."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """Joins the group that torchrun's environment describes, if it does, and leaves it at the end.

    Gloo also where there are GPUs: the parts meet once, on the CPU, and nothing waits for it.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():  # by the caller, who also leaves it
        yield
        return
    dist.init_process_group("gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def combine(accumulator: Accumulator, features: Features, keep: bool) -> tuple[Accumulator, Features, bool]:
    """The whole out of every process's part, the same in each of them.

    Args:
        accumulator, features: of this process's images.
        keep: whether this process kept its features; the whole has them only if all did.
    Returns:
        The merged accumulator; all features in the images' order (empty unless kept); whether they were kept.
    """
    world = dist.get_world_size()
    parts: list[tuple[Accumulator, Features, bool]] = [(accumulator, features, keep)] * world
    dist.all_gather_object(parts, (accumulator, features, keep))
    if not all(kept for _, _, kept in parts):
        merged = Accumulator(accumulator.dimensions)
        for part, _, _ in parts:
            merged.merge(part)
        return merged, features[:0], False
    whole = np.empty((sum(len(some) for _, some, _ in parts), accumulator.dimensions), np.float32)
    for rank, (_, some, _) in enumerate(parts):
        whole[rank::world] = some
    merged = Accumulator(accumulator.dimensions)
    merged.add(whole)  # in the images' own order: bit for bit what one process sums
    return merged, whole, True

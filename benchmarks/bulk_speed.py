"""Samples in bulk by one actor and by two, beside a plain loop in as many processes and Dask's workers.

    python -m benchmarks.bulk_speed                        on a machine with two idle cores
    python -m benchmarks.bulk_speed --shards 4 --repeat 1  a look whether it runs

All call the same function on the same pieces, with one thread each. Speed is counted from the first shard of each
worker to its last, so without start-up, which stands beside it. Dask is no dependency: `pip install -c constraints.txt
distributed==2026.8.0` measures it too.
"""

import argparse
import contextlib
import importlib.util
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

import models
from bulk import sample
from bulk.cluster import connected
from bulk.command import SHIPPED
from bulk.sample import SHARD, Piece
from models import Generator

MODEL = SHIPPED / "cifar10-dcgan.safetensors"
_loaded: list[Generator] = []  # by each process for itself

Shards = Iterator[object]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints one JSON object; progress goes to standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=24, help=f"of {SHARD} samples, for each worker")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the fastest counts")
    options = parser.parse_args(arguments)
    ways: dict[str, Callable[[int, int], contextlib.AbstractContextManager[Shards]]] = {"plain": plain, "ray": ray_data}
    if importlib.util.find_spec("distributed"):
        ways["dask"] = dask
    report: dict[str, Any] = {}
    for _ in range(options.repeat):
        for name, way in ways.items():  # in turns, so that all meet the machine as it is at the time
            for workers in (1, 2):
                found = timed(way, options.shards * workers, workers)
                best = report.setdefault(name, {}).setdefault(f"{workers}", found)
                report[name][f"{workers}"] = max(best, found, key=lambda one: one["images_per_s"])
                print(f"{name}, {workers}: {found}", file=sys.stderr)
    for each in report.values():
        each["of_linear"] = round(each["2"]["images_per_s"] / each["1"]["images_per_s"] / 2, 3)
    print(json.dumps(report, indent=2))


def timed(
    way: Callable[[int, int], contextlib.AbstractContextManager[Shards]], shards: int, workers: int
) -> dict[str, float]:
    """Images/s once each worker has made its first shard, and the seconds until then."""
    began = time.perf_counter()
    with way(shards, workers) as made:
        for _ in range(workers):
            next(made)
        warm = time.perf_counter()
        rest = sum(1 for _ in made)
        speed = rest * SHARD / (time.perf_counter() - warm)
    return {"images_per_s": round(speed, 1), "start_s": round(warm - began, 1)}


@contextlib.contextmanager
def plain(shards: int, workers: int) -> Iterator[Shards]:
    """A loop over the pieces in each of some processes."""
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield iter(pool.imap_unordered(made, pieces(shards)))


@contextlib.contextmanager
def ray_data(shards: int, workers: int) -> Iterator[Shards]:
    """As `python -m bulk sample`, which writes them as well."""
    with tempfile.TemporaryDirectory() as folder, connected(None, workers) as actors:
        yield iter(sample.sample(shards * SHARD, folder, MODEL, 0).work(actors))


@contextlib.contextmanager
def dask(shards: int, workers: int) -> Iterator[Shards]:
    """Dask's workers, a process each."""
    from distributed import Client, LocalCluster, as_completed

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield iter(as_completed(client.map(made, pieces(shards), pure=False)))


def pieces(shards: int) -> list[Piece]:
    return [Piece(start, start + SHARD) for start in range(0, shards * SHARD, SHARD)]


def made(piece: Piece) -> int:
    """Makes one shard and writes it, as an actor does; returns its bytes."""
    if not _loaded:
        torch.set_num_threads(1)
        _loaded.append(models.load(MODEL, Generator))
    data = sample.shard(_loaded[0], piece, 0)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, sample.shard_name(piece.start)).write_bytes(data)
    return len(data)


if __name__ == "__main__":
    main()

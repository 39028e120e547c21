"""The one pipeline: pieces of work are read by tasks, worked on by actors that hold a network, and reported in order.

A piece is a few images, the same few in every run. So what is made of it is the same too, whoever makes it and however
often: an actor that dies takes nothing with it, Ray gives its piece to another.
"""

import itertools
import logging
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import ray.util.client
from ray.data import DataContext

from bulk.cluster import Actors
from models import GanError

_READING = 0.5  # of a processor: another share than the actors', or Ray would read inside of them, which then wait
_HEAD = "node:__internal_head__"  # a resource that the first machine of a cluster has
_MOST_BLOCKS = 4096  # among which Ray divides the pieces; each costs it some bookkeeping


@dataclass(frozen=True)
class Report:
    """What came of a piece.

    done: images that are through, broken ones included.
    broken: (name, sentence) of each input that nothing could be made of.
    result: what is handed to the caller; results that were written to their place need not be.
    """

    done: int
    broken: tuple[tuple[str, str], ...] = ()
    result: Any = None


def reports(
    pieces: Sequence[Any],
    read: Callable[[Any], Any] | None,
    worker: type,
    given: Mapping[str, Any],
    actors: Actors,
) -> Iterator[Report]:
    """Works on pieces, and gives the report on each in their order.

    Args:
        read: makes of a piece what the worker takes; runs beside the actors. None: the worker takes pieces.
        worker: a class; called with `given` it gives what is called with each read piece, and returns a `Report`.
    Raises:
        GanError, OSError: as the worker or `read` raised it.
    """
    order = _Order(tuple(pieces), read, worker, dict(given), actors)
    try:
        yield from _on_the_head(order) if ray.util.client.ray.is_connected() else _work(order)
    except Exception as error:
        raise _cause(error) from error


@dataclass(frozen=True)
class _Order:
    """What `reports` was asked for."""

    pieces: tuple[Any, ...]
    read: Callable[[Any], Any] | None
    worker: type
    given: dict[str, Any]
    actors: Actors


def _work(order: _Order) -> Iterator[Report]:
    if not order.pieces:
        return
    _be_quiet()
    rows = ray.data.from_items(
        [{"data": pickle.dumps(piece)} for piece in order.pieces],
        override_num_blocks=min(len(order.pieces), _MOST_BLOCKS),
    )
    if order.read is not None:
        rows = rows.map(_Task(order.read), num_cpus=_READING)
    given = {"worker": order.worker, "given": order.given}
    for row in rows.map(_Actor, fn_constructor_kwargs=given, **order.actors.options).iter_rows():
        yield pickle.loads(row["data"])


def _be_quiet() -> None:
    """A run has one progress bar, and its results come in order."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _on_the_head(order: _Order) -> Iterator[Report]:
    """The same on the first machine of a cluster whose client this is (ray://): Ray Data does not work through one."""
    foreman = ray.remote(_Foreman).options(num_cpus=0, resources={_HEAD: 0.001}).remote(order)
    while some := ray.get(foreman.more.remote()):
        yield from some


class _Foreman:
    def __init__(self, order: _Order) -> None:
        self.work = _work(order)

    def more(self) -> list[Report]:
        """The next report; none at the end."""
        return list(itertools.islice(self.work, 1))


class _Task:
    """A function of Python's objects as one of Ray's rows."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        return {"data": pickle.dumps(self.function(pickle.loads(row["data"])))}


class _Actor(_Task):
    """The same with a worker, which is made once in its process and kept."""

    def __init__(self, worker: type, given: dict[str, Any]) -> None:
        super().__init__(worker(**given))


def _cause(error: BaseException) -> BaseException:
    """The error of ours, or of a disk, at the bottom of what Ray wraps around it; else the error as it is."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, GanError | OSError) and not isinstance(at, ray.exceptions.RayError):
            return at
        at = getattr(at, "cause", None) or at.__cause__
    return error

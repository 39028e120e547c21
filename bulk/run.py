"""A run from its plan to its exit status: what is there is skipped, what is broken is listed, the rest is worked on."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from bulk import places
from bulk.cluster import Actors, connected
from bulk.pipeline import Report
from models import ConflictError, addresses, legible

ABOUT = "bulk.json"
BROKEN = "errors.jsonl"


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        written: the place of the results, and of `errors.jsonl`.
        about: what the results depend on, which the place keeps (`bulk.json`): others would not go with them. Empty
            where each result says so itself.
        total: images; None where they are in shards, and not counted; 0 where all was over before this run.
        done: how many of them are through already.
        work: does the rest, on actors.
        broken: inputs that nothing can be made of, known beforehand: (name, sentence).
    """

    written: str
    about: Mapping[str, Any]
    total: int | None
    done: int
    work: Callable[[Actors], Iterator[Report]]
    broken: tuple[tuple[str, str], ...] = ()


def run(plan: Plan, *, address: str | None = None, actors: int | None = None) -> int:
    """Does what a plan leaves to be done, under a progress bar; returns how many inputs were broken.

    Args:
        address, actors: as `cluster.connected` takes them.
    Raises:
        ConflictError: the place holds results of another model, direction or seed.
        InputError: there is no such cluster.  OSError: a place cannot be read or written.
    """
    place = places.place(plan.written)
    _claim(place, plan)
    broken = list(plan.broken)
    if plan.total is None or plan.done < plan.total:
        with connected(address, actors) as pool, _bar(plan) as bar:
            for report in plan.work(pool):
                broken += report.broken
                bar.update(report.done)
    if broken:
        lines = [json.dumps({"name": legible(name), "error": why}) + "\n" for name, why in sorted(broken)]
        place.write(BROKEN, "".join(lines).encode())
    elif plan.total != 0:
        place.remove(BROKEN)
    return len(broken)


def _claim(place: places.Place, plan: Plan) -> None:
    """Writes what the results depend on, or compares it with what they depend on that are there."""
    if not plan.about:
        return
    found, shown = place.read(ABOUT), addresses.without_secrets(plan.written)
    if found is None:
        place.write(ABOUT, json.dumps(plan.about, indent=2).encode())
        return
    try:
        before = json.loads(found)
    except (ValueError, RecursionError):
        before = None
    if not isinstance(before, dict):
        raise ConflictError(
            f"{shown} holds results, but its {ABOUT} is damaged, so that nobody can tell whose. Choose another place.",
            where=shown,
        )
    if before != plan.about:
        changes = [
            f"{name} {before.get(name)!r}, now {value!r}"
            for name, value in plan.about.items()
            if before.get(name) != value
        ]
        raise ConflictError(
            f"{shown} holds results of another run ({'; '.join(changes)}), and would be taken "
            "for this one's. Choose another place.",
            where=shown,
        )


def _bar(plan: Plan) -> "tqdm[Any]":
    return tqdm(total=plan.total, initial=plan.done, unit=" images", smoothing=0.05)

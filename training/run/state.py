"""The snapshot: everything a run needs to go on exactly, in one `state.pt` of plain tensors, numbers and strings.

    format      1
    kind        the run's, such as "dcgan"
    config      the run's configuration, as JSON
    dataset     the digest of the training images
    world       number of processes that wrote it
    progress    step, images, seconds, best, alarms: plain numbers
    networks, averages, optimizers      name -> state dictionary
    pools       what each process keeps for itself: one {name: [k, c, h, w]} for each; another number of processes
                shares it out anew

It is read with `weights_only=True`, so a snapshot from a stranger runs no code; and written to a temporary file,
synced, then renamed, so that a kill at any moment leaves the old snapshot or the new one. There is no random state
in it because every draw is a function of (seed, step). The service never reads this file.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metrics import World
from models import CheckpointError, ConflictError, atomic_path
from training.games.game import Players
from training.options.flags import differences, from_dict, to_dict
from training.options.run import Run
from training.options.shared import CHANGEABLE, SCHEDULE

FORMAT = 1


@dataclass
class Progress:
    """How far a run has come, and what it must remember of the way. Changed by the loop alone.

    best: {"metric", "value", "images"} of the best snapshot so far, with the "extractor" where it is not the Inception;
        or empty.
    reference_gradient: the largest generator gradient norm of a tick so far; alarms compare with it.
    """

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    best: dict[str, Any] = field(default_factory=dict)
    reference_gradient: float = 0.0


@dataclass(frozen=True)
class About:
    """Which run a snapshot is of: its whole configuration, and the digest of its training images."""

    run: Run
    dataset: str


def save(path: Path, about: About, players: Players, progress: Progress, world: World) -> None:
    """Writes a snapshot; every process takes part, the first one writes.

    Raises:
        OSError: the disk is full or read-only; the snapshot that was there is still whole.
    """
    pools = world.gather({name: pool.stored for name, pool in players.pools.items()})
    if world.first:
        state = {
            "format": FORMAT,
            "kind": about.run.kind,
            "config": json.dumps(to_dict(about.run)),
            "dataset": about.dataset,
            "world": world.size,
            "progress": asdict(progress),
            "networks": {name: network.state_dict() for name, network in players.networks.items()},
            "averages": {name: average.module.state_dict() for name, average in players.averages.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in players.optimizers.items()},
            "pools": pools,
        }
        # through a Python file, so that a full disk is an OSError and not torch's internal assertion
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            try:
                torch.save(state, file)
            except RuntimeError as error:  # raised while torch closes its archive, over what was wrong
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None
    world.wait()


def read(path: Path) -> dict[str, Any]:
    """A snapshot's content.

    Raises:
        CheckpointError: the file is not a snapshot of ours, or damaged.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # torch raises nearly anything over a damaged or hostile file
        raise CheckpointError(f"{path} is not a whole snapshot of a training run: {error}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a snapshot of format {FORMAT}.")
    return state


def restore(state: dict[str, Any], about: About, players: Players, world: World) -> Progress:
    """Puts a snapshot's content into freshly built players, and returns how far its run had come.

    Raises:
        ConflictError: the snapshot is of another configuration or data; all that differs is listed.
        CheckpointError: its tensors are not those of the players.
    """
    _refuse(_changes(state, about))
    device = next(next(iter(players.networks.values())).parameters()).device
    try:
        for name, network in players.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, average in players.averages.items():
            average.module.load_state_dict(state["averages"][name])
        for name, optimizer in players.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
            _lay_out(optimizer)
        for name, pool in players.pools.items():
            pool.stored = _shared_out([each[name] for each in state["pools"]], world).to(device)
        return Progress(**state["progress"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"The snapshot does not fit this run's networks: {error}") from error


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Puts Adam's moments into the memory layout of their parameters, which may be another than the snapshot's.

    Fused Adam walks through memory without a look at strides: it would give an element its neighbour's moments.
    """
    for parameter, moments in optimizer.state.items():
        for name, moment in moments.items():
            if moment.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter).copy_(moment)


def check_same(config: dict[str, Any], run: Run) -> None:
    """Raises ConflictError where a folder's configuration is not that of the run that is to begin there again."""
    if config.get("kind") != run.kind:
        _refuse([f"kind: {config.get('kind')!r} in the folder, {run.kind!r} now"])
    _refuse(_changed_options(config, run, images=0))


def _refuse(changes: list[str]) -> None:
    if changes:
        raise ConflictError(
            "The run cannot go on under a changed configuration:\n  "
            + "\n  ".join(changes)
            + "\nResume it as it was, or start a new run in another folder."
        )


def _shared_out(pools: list[Tensor], world: World) -> Tensor:
    """This process's part of what so many processes kept, [k, c, h, w]: its own, where there are as many as then."""
    if len(pools) == world.size:
        return pools[world.rank]
    kept = [pool for pool in pools if len(pool)]  # an empty pool has no shape yet
    return torch.cat(kept)[world.rank :: world.size][: max(map(len, kept))] if kept else pools[0]


def _changes(state: dict[str, Any], about: About) -> list[str]:
    """One line for each thing that may not differ from the snapshot and does."""
    now = {"kind": about.run.kind, "dataset": about.dataset}
    lines = [
        f"{name}: {state[name]!r} in the snapshot, {value!r} now" for name, value in now.items() if state[name] != value
    ]
    if state["kind"] != about.run.kind:
        return lines
    return lines + _changed_options(json.loads(state["config"]), about.run, state["progress"]["images"])


def _changed_options(config: dict[str, Any], run: Run, images: int) -> list[str]:
    """One line for each option that may not differ after so many images and does."""
    lines = []
    # an option that is newer than the snapshot had its default then
    before = from_dict(type(run), config, origin="the snapshot's configuration")
    begun = _begun(before, run, images)
    for name, (old, new) in differences(before, run).items():
        if name in SCHEDULE and begun:
            lines.append(
                f"{name}: {old!r} in the snapshot, {new!r} now, while {' and '.join(begun)} "
                f"{'follows' if len(begun) == 1 else 'follow'} from the run's length"
            )
        elif not name.startswith((*CHANGEABLE, *SCHEDULE)):
            lines.append(f"{name}: {old!r} in the snapshot, {new!r} now")
    return lines


def _begun(before: Run, now: Run, images: int) -> list[str]:
    """The schedules that depend on the run's length already, as it was or as it is to be: the run has steps behind it
    that another length would have made otherwise."""
    found = {
        name: None
        for run in (before, now)
        for name, one in run.schedules().items()
        if one.begins(run.pace.images) < images
    }
    return list(found)

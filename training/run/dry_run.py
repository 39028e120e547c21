"""`--dry-run`: the whole configuration, what it comes to, and whether it could start, without a file."""

import dataclasses
import json
import os

import torch
from torch import Tensor, nn

from metrics import World
from models import InputError
from training.engine.stage import Moment
from training.games.game import Game
from training.options.flags import to_dict
from training.options.run import Run
from training.run import folder, state
from training.run.build import build, stage
from training.run.loop import check_packages

MIB = 2**20
TRIED = 2  # images of a pass of the step that is taken to see what it keeps


@dataclasses.dataclass(frozen=True)
class Preview:
    """What a run would be.

    config: as JSON, for `--config` to read.  about: sizes, a line each, for a person.
    """

    config: str
    about: list[str]


def preview(run: Run, *, resume: bool | None = False) -> Preview:
    """Checks the folder, reads and checks the data, builds the networks, takes a step on few images, and describes the
    run. Nothing is written.

    Raises:
        InputError, ConflictError, GanError: as `training.train`. What scores need (Inception, a reference) is not
            looked at.
    """
    check_packages(run)
    out = folder.at(run.output.out, run.output.name)
    folder.check_fit(out, resume=resume)
    if not resume:
        folder.check_apart(out, run.data.data)
    parent = next(path for path in (out.root, *out.root.resolve().parents) if path.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise InputError(
            f"--out {out.root} cannot be written: {parent} is not a folder that can be written to.", where="out"
        )
    here = stage(run.machine, run.pace)
    few = min(TRIED * run.parts, run.pace.batch)
    game, digest = build(run.changed(pace={"batch": few}), dataclasses.replace(here, compile=False, graphs=False))
    done = 0
    if out.state.exists():  # and the run fits there, so it goes on from it
        done = state.restore(state.read(out.state), state.About(run, digest), game.players, World()).images
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in game.players.networks.items()}
    parameters = sum(counts.values())
    averaged = sum(p.numel() for average in game.players.averages.values() for p in average.module.parameters())
    weights = 4 * (4 * parameters + averaged)  # weights, gradients, Adam's two moments; averages
    data, activations = game.data.nbytes, kept_by_a_step(game) // few * run.pace.batch
    images = game.images_per_step // few * run.pace.batch
    about = [
        f"device: {here.device}, {'bf16 autocast' if here.bf16 else 'fp32'}",
        *(f"parameters of {name}: {count:,}" for name, count in counts.items()),
        f"images: {data / MIB:,.0f} MiB in memory, digest {digest[:16]}",
        f"memory: about {(weights + activations + data) / MIB:,.0f} MiB "
        f"({weights / MIB:,.0f} weights and optimizer, {activations / MIB:,.0f} activations), beside torch itself",
        f"steps: {-(-run.pace.images // images):,} of {images} images" + (f", {done:,} images done" if done else ""),
    ]
    return Preview(json.dumps(to_dict(run), indent=2), [*about, *([run.advice()] if run.advice() else [])])


def kept_by_a_step(game: Game) -> int:
    """The most bytes that one step holds at once for its backward passes; it trains the game by that step."""
    held = _Held()
    with torch.autograd.graph.saved_tensors_hooks(held.keep, lambda kept: kept.tensor):
        game.step(Moment(0, 0, max(1, game.images_per_step)))
    return held.most


class _Held:
    """Counts the memory of what autograd keeps, each storage once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.users: dict[int, int] = {}

    def keep(self, tensor: Tensor) -> "_Kept":
        return _Kept(tensor, self)


class _Kept:
    """A tensor that autograd keeps, until it lets go of this."""

    def __init__(self, tensor: Tensor, held: _Held) -> None:
        self.tensor, self.held = tensor, held
        storage = tensor.untyped_storage()
        self.place, self.size = storage.data_ptr(), 0 if isinstance(tensor, nn.Parameter) else storage.nbytes()
        users = held.users.get(self.place, 0)
        held.users[self.place] = users + 1
        if not users:
            held.now += self.size
            held.most = max(held.most, held.now)

    def __del__(self) -> None:
        self.held.users[self.place] -= 1
        if not self.held.users[self.place]:
            self.held.now -= self.size

"""`--dry-run`: the whole configuration, what it comes to, and whether it could start, without a step or a file."""

import json
import os

import torch
from torch import Tensor, nn

from metrics import World
from models import InputError
from training.engine.stage import Stage
from training.games.game import Game
from training.games.kinds import Run, kind_of
from training.options.flags import to_dict
from training.run import folder, state
from training.run.build import build, stage

MIB = 2**20


def preview(run: Run, *, resume: bool = False) -> str:
    """Checks the folder, reads and checks the data, builds the networks, and describes the run.

    Raises:
        InputError, ConflictError: as `training.train`. What scores need (Inception, a reference) is not looked at.
    """
    out = folder.at(run.output.out, run.output.name)
    folder.check_fit(out, resume=resume)
    parent = next(path for path in (out.root, *out.root.resolve().parents) if path.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise InputError(
            f"--out {out.root} cannot be written: {parent} is not a folder that can be written to.", where="out"
        )
    here = stage(run.machine, run.pace)
    game, digest = build(run, here)
    done = 0
    if resume:
        snapshot = state.read(out.state)
        about = state.About(kind_of(run), to_dict(run), digest)
        done = state.restore(snapshot, about, game.players, World(size=snapshot["world"])).images
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in game.players.networks.items()}
    parameters = sum(counts.values())
    averaged = sum(p.numel() for average in game.players.averages.values() for p in average.module.parameters())
    weights = 4 * (4 * parameters + averaged)  # weights, gradients, Adam's two moments; averages
    activations = _activation_bytes(game, here) * run.pace.batch
    steps = -(-round(run.pace.kimg * 1000) // game.images_per_step)
    lines = [
        json.dumps({"kind": kind_of(run)} | to_dict(run), indent=2),
        f"device: {here.device}, {'bf16 autocast' if here.bf16 else 'fp32'}",
        *(f"parameters of {name}: {count:,}" for name, count in counts.items()),
        f"images: {game.data_bytes / MIB:,.0f} MiB in memory, digest {digest[:16]}",
        f"memory: about {(weights + activations + game.data_bytes) / MIB:,.0f} MiB "
        f"({weights / MIB:,.0f} weights and optimizer, {activations / MIB:,.0f} activations), beside torch itself",
        f"steps: {steps:,} of {game.images_per_step} images" + (f", {done:,} images done" if done else ""),
    ]
    return "\n".join(lines)


def _activation_bytes(game: Game, here: Stage) -> int:
    """What one image's forward passes leave for the backward pass, by the size of every layer's output.

    An estimate: some layers keep their input, some nothing.
    """
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(output, Tensor):
            total += output.numel() * output.element_size()

    leaves = [m for network in game.players.networks.values() for m in network.modules() if not list(m.children())]
    hooks = [leaf.register_forward_hook(count) for leaf in leaves]
    with torch.no_grad(), here.autocast():
        images = game.rehearse()
    for hook in hooks:
        hook.remove()
    return total // images

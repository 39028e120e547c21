"""The inference checkpoint of a run: what `models.load` and the service read."""

import dataclasses
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

import models
from training.games.game import Game
from training.options.flags import to_dict
from training.options.run import Run
from training.options.shared import CHECKPOINTS
from training.run.state import Progress


def write(path: Path, run: Run, game: Game, progress: Progress, metrics: dict[str, Any]) -> None:
    """Writes the averaged weights with everything that says where they come from.

    Args:
        metrics: scores of these very weights; empty where they were not measured.
    """
    metadata, weights = game.family.metadata(), game.family.weights()
    config = to_dict(run)
    training = (
        metadata.training
        | dict(game.origin)
        | {
            "run": run.kind,
            "loss": run.game.loss,
            "steps": progress.step,
            "images": progress.images,
            "seed": run.pace.seed,
            "device": _described(next(next(iter(weights.values())).parameters()).device),
            "seconds": round(progress.seconds, 1),
            "code": code_version(),
            "config": {name: config[name] for name in ("game", "optimizer", "pace")}
            | {"data": _without(config["data"], "data"), "network": _without(config["network"], *CHECKPOINTS)},
        }
    )
    metadata = dataclasses.replace(metadata, training=training, metrics=metrics)
    try:
        served = {name: models.state_without_spectral_norm(network) for name, network in weights.items()}
        models.save(path, models.with_directions(served, metadata), metadata)
    except SafetensorError as error:  # what safetensors makes of a full disk
        raise OSError(str(error)) from error


def _without(options: dict[str, Any], *names: str) -> dict[str, Any]:
    """Without paths of the machine that trained; `metadata.training` has the names and digests of what lay there."""
    return {key: value for key, value in options.items() if key not in names}


def _described(device: torch.device) -> str:
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


@cache
def code_version() -> str:
    """The commit of this code, with `+` where files differ from it; `unknown` outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()

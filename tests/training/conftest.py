"""Shared by the tests of training/: runs so small that a step takes milliseconds."""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import models
from training import CycleGANRun, DCGANRun
from training.engine.stage import Moment
from training.games.table import games
from training.options.flags import from_dict, merged
from training.run.build import build, stage

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # tests of exports import ONNX Runtime themselves

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
TEACHER = Path(models.__file__).parent / "pretrained" / "horse2zebra.safetensors"

SAMPLER = {
    "data": {"data": "fake", "image_size": 16},
    "network": {"width": 4, "discriminator_width": 4, "latent_size": 8},
    "pace": {"kimg": 0.032, "batch": 4, "tick_kimg": 0.008, "sample_kimg": 0.016, "snapshot_kimg": 0.016},
    "watch": {"tensorboard": False, "animation": "none"},
    "machine": {"device": "cpu", "threads": 1},
}
TRANSLATOR = {
    "data": {"data": "fake", "image_size": 32},
    "network": {"width": 4, "discriminator_width": 4, "blocks": 1},
    "game": {"pool": 3},
    "optimizer": {"decay_kimg": 0.008},
    "pace": {"kimg": 0.016, "batch": 2, "tick_kimg": 0.004, "sample_kimg": 0.008, "snapshot_kimg": 0.008},
    "watch": {"tensorboard": False, "animation": "none"},
    "machine": {"device": "cpu", "threads": 1},
}


# every trick of the discriminator's side at once, several steps a side, in either game
TRICKS = {
    "d_steps": 2,
    "g_steps": 2,
    "label_smoothing": 0.1,
    "label_noise": 0.2,
    "instance_noise": 0.1,
    "r1": 0.5,
    "r2": 0.5,
    "feature_matching": 1.0,
    "augment": "color,translation,cutout",
    "augment_chance": 0.5,
}


# the options of a run of any game that takes milliseconds a step: whichever of them the game has
SMALLEST = {
    "data": "fake",
    "image_size": 32,
    "width": 4,
    "discriminator_width": 4,
    "latent_size": 8,
    "blocks": 1,
    "projection": 16,
    "teacher": str(TEACHER),
    "pool": 3,
    "decay_kimg": 0.0,
    "kimg": 0.016,
    "batch": 4,
    "tick_kimg": 0.008,
    "sample_kimg": 0.008,
    "snapshot_kimg": 0.008,
    "tensorboard": False,
    "animation": "none",
    "device": "cpu",
    "threads": 1,
}


@dataclass(frozen=True)
class SmallExtractor:
    """A fixed random projection of the images shrunk to 8 pixels: no weights needed."""

    dimensions: int = 6
    batch_size: int = 16
    name: str = "small"
    side: int = 299
    precision: str = "float32"

    def features(self, images: torch.Tensor) -> np.ndarray:
        projection = torch.randn(192, self.dimensions, generator=torch.Generator().manual_seed(0))
        return F.adaptive_avg_pool2d(images, 8).flatten(1).matmul(projection).numpy()

    def logits(self, features: np.ndarray) -> np.ndarray:
        return features


@pytest.fixture(scope="session")
def small() -> SmallExtractor:
    return SmallExtractor()


@pytest.fixture(scope="session")
def tiny() -> dict[str, dict[str, dict[str, Any]]]:
    """The options of a tiny run of each kind."""
    return {"dcgan": SAMPLER, "cyclegan": TRANSLATOR}


@pytest.fixture(scope="session")
def smallest() -> Callable[..., dict[str, dict[str, Any]]]:
    """The options of a tiny run of any game, by its kind; others go over them, where the game has such an option."""

    def make(kind: str, **others: Any) -> dict[str, dict[str, Any]]:
        wanted = SMALLEST | others
        groups = games()[kind].Run.groups()
        return {
            name: {option: wanted[option] for option in type(group).model_fields if option in wanted}
            for name, group in groups.items()
        }

    return make


@pytest.fixture(scope="session")
def tricks() -> dict[str, Any]:
    return TRICKS


@pytest.fixture
def sampler(tmp_path: Path) -> Callable[..., DCGANRun]:
    """A tiny DCGAN run into tmp_path/run; keyword arguments are groups of options that differ."""

    def make(**changes: dict[str, Any]) -> DCGANRun:
        base = merged(SAMPLER, {"output": {"out": str(tmp_path / "run")}})
        return from_dict(DCGANRun, merged(base, changes))

    return make


@pytest.fixture
def translator(tmp_path: Path) -> Callable[..., CycleGANRun]:
    """A tiny CycleGAN run into tmp_path/run."""

    def make(**changes: dict[str, Any]) -> CycleGANRun:
        base = merged(TRANSLATOR, {"output": {"out": str(tmp_path / "run")}})
        return from_dict(CycleGANRun, merged(base, changes))

    return make


@pytest.fixture
def stepped() -> Callable[..., tuple[Any, list[dict[str, float]]]]:
    """Makes a run's game and takes a few steps: the game, and what each step returned."""

    def make(run: DCGANRun | CycleGANRun, steps: int = 2) -> tuple[Any, list[dict[str, float]]]:
        game, _ = build(run, stage(run.machine, run.pace))
        total = run.pace.images
        results = [game.step(Moment(step, step * game.images_per_step, total)).scalars() for step in range(steps)]
        return game, [{name: float(value) for name, value in result.items()} for result in results]

    return make


with warnings.catch_warnings():  # imported once here: its own deprecations are not ours to fix
    warnings.simplefilter("ignore")
    import torch.utils.tensorboard

"""`python -m training classifier`: a classifier that learned one data set and nothing else, as a checkpoint.

    python -m training classifier --data data/cifar10 --out runs/judge
    python -m metrics score model.safetensors data/cifar10/train --extractor runs/judge/judge.safetensors

The same command goes on with a run that was stopped; one that is finished writes its checkpoint again.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

import models
from models import SEED_LIMIT, Airbench, AirbenchConfig, commandline, metadata_of
from training.classifier.learning import Recipe, accuracy, learn
from training.data.images import Dataset, load_labelled
from training.engine.console import say
from training.run.build import device_named
from training.run.checkpoint import code_version

ABOUT = "Train a classifier of a data set's images, whose features measure sets of images (metrics --extractor)."
STATE = "state.pt"
_DEFAULT = Recipe()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `python -m training classifier`."""
    add = parser.add_argument
    add(
        "--data", type=commandline.place, required=True, help="MNIST, CIFAR-10, or train and test, one folder per class"
    )
    add("--out", type=Path, required=True, help="folder of the run; its name is the checkpoint's")
    add("--image-size", type=commandline.within(16, 256), default=32, help="side in pixels (default: 32)")
    add("--channels", type=int, choices=(1, 3), default=3, help="1: grey, 3: colour (default)")
    add_learning_flags(parser)
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")


def add_learning_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of how classifiers learn, whichever command trains them."""
    add = parser.add_argument
    add("--width", type=int, default=64, help="channels of the first group, a quarter of the features (default: 64)")
    add("--epochs", type=float, default=_DEFAULT.epochs, help=f"default: {_DEFAULT.epochs:g}")
    add(
        "--seed",
        type=commandline.within(0, SEED_LIMIT - 1),
        default=_DEFAULT.seed,
        help="fixes weights, order and every draw (default: 0)",
    )
    add("--threads", type=commandline.within(0, 4096), default=0, help="CPU threads for torch; 0: torch's own choice")


def run(typed: argparse.Namespace) -> int:
    """Trains, measures on the test images, writes the checkpoint.

    Raises:
        InputError: data without classes or test images, an option out of range, a folder that holds another run.
    """
    if typed.threads:
        torch.set_num_threads(typed.threads)
    recipe, device = Recipe(epochs=typed.epochs, seed=typed.seed), device_named(typed.device)
    train, test = load_labelled(typed.data, typed.image_size, typed.channels)
    typed.out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with tqdm(unit=" images", disable=None) as bar:

        def tell(done: int, total: int, loss: float) -> None:
            bar.total = total * recipe.batch
            bar.set_postfix(loss=f"{loss:.3f}")
            bar.update(done * recipe.batch - bar.n)

        network = learn(train, typed.width, recipe, device=str(device), kept=typed.out / STATE, progress=tell)
    path = typed.out / f"{typed.out.resolve().name}.safetensors"
    save(path, network, train, test, recipe, time.perf_counter() - started)
    found = models.read_metadata(path).metrics
    for name, entry in found.items():
        say(f"{name.replace('_', ' '):24}{entry['value']:8.2%}  of {entry['images']:,} test images", sys.stdout)
    say(f"{path}: sha256 {models.sha256_of(path)}", sys.stdout)
    return 0


def save(path: Path, network: Airbench, train: Dataset, test: Dataset, recipe: Recipe, seconds: float) -> None:
    """Writes the checkpoint in half precision, with its accuracy on the test images."""
    config = AirbenchConfig(train.pixels.shape[1], train.pixels.shape[3], len(train.classes), network.config.width)
    steps = recipe.steps(len(train))
    training: dict[str, Any] = {
        "run": "classifier",
        "dataset": train.name,
        "dataset_digest": train.digest,
        "dataset_images": len(train),
        "steps": steps,
        "images": steps * min(recipe.batch, len(train)),
        "seconds": round(seconds, 1),  # of the last stretch, where it was stopped
        "code": code_version(),
        "config": dataclasses.asdict(recipe),
    }
    metadata = metadata_of(config, classes=train.classes, training=training)
    models.save(path, {"classifier": network}, metadata, half=True)
    served = models.load(path, models.Classifier).parts["classifier"]  # as its half precision leaves it
    about = {"interval": None, "images": len(test), "reference": f"{train.name} test", "reference_images": None}
    found = {
        "accuracy": {"value": accuracy(served, test), "protocol": "one view", **about},
        "accuracy_of_views": {"value": accuracy(served, test, views=True), "protocol": "mean of 6 views", **about},
    }
    models.with_metadata(path, dataclasses.replace(metadata, metrics=found))

"""`python -m training cas`: how well a class-conditional model's images teach a classifier, and are told apart by one.

    cas            a classifier that learned generated images names real ones: the classification accuracy score
                   (Ravuri and Vinyals 2019), GAN-train of Shmelkov, Schmid and Alahari 2018
    cas_reverse    a classifier that learned real images names generated ones: their GAN-test
    cas_real       a classifier that learned as many real images names real ones: what there is to reach

The first falls with what the model draws badly and with what it never draws; the second with the former alone, and a
model that gives its training images back is better in it than real images are.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models import (
    Classifier,
    Generator,
    InputError,
    commandline,
    draw,
    load,
    sample_seeds,
    strict_json,
    to_uint8,
)
from training.classifier.command import add_learning_flags
from training.classifier.learning import Recipe, accuracy, learn
from training.data.images import Dataset, load_labelled, spread
from training.engine.console import say
from training.shipping.probe import interval

ABOUT = "Measure a class-conditional model by classifiers: train on generated images, test on real ones; and reverse."
_BATCH = 100
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is measured, and how.

    model: with classes.  train, test: real images, of the same classes and size.
    judge: has learned `train`; None trains one.
    images: that the model draws, from seed 0, and as many real ones are learned.
    folder: holds both runs, so that they go on where they were stopped.
    """

    model: Generator
    train: Dataset
    test: Dataset
    judge: Classifier | None
    images: int
    recipe: Recipe
    width: int
    folder: Path


def measure(plan: Plan, progress: Progress) -> dict[str, dict[str, Any]]:
    """{"cas": {"value", "interval" (95%, Wilson), "images", "learned" (images), "protocol"}, ...}, values in [0, 1].

    Raises:
        InputError: the model has no classes, or others than the data or the classifier.
    """
    model, judge = plan.model, plan.judge
    if not model.classes:
        raise InputError(
            "This model has no classes: accuracy says nothing of it. Compare distances instead.", where="checkpoint"
        )
    _check_classes("the data has", plan.train.classes, model)
    if judge is not None:
        _check_classes("the classifier names", judge.classes, model)
        if (judge.image_size, judge.channels) != (model.image_size, model.channels):
            raise InputError(
                f"The classifier sees {judge.image_size} px and {judge.channels} channels, the model draws "
                f"{model.image_size} px and {model.channels}: bring one of the same.",
                where="classifier",
            )
    progress(f"{plan.images:,} generated images")
    generated = drawn(model, plan.images)
    taught = _taught(plan, generated, "generated", progress)
    of_real = judge.parts["classifier"] if judge is not None else _taught(plan, plan.train, "real", progress)
    learned = judge.metadata.training.get("dataset_images") if judge is not None else plan.images
    found = {
        "cas": (taught, plan.test, len(generated)),
        "cas_reverse": (of_real, generated, learned),
        "cas_real": (of_real, plan.test, learned),
    }
    return {name: _entry(*one, plan.recipe) for name, one in found.items()}


def drawn(model: Generator, count: int) -> Dataset:
    """What the model draws for seeds 0, 1, ..., the classes in turn: uint8 [count, s, s, c] with labels."""
    labels = torch.arange(count) % len(model.classes)
    pixels = []
    for some in torch.arange(count).split(_BATCH):
        latents = draw(sample_seeds(int(some[0]), len(some)), model.latent_size)
        pixels.append(torch.from_numpy(to_uint8(model(latents, labels[some]))))
    return Dataset("generated", torch.cat(pixels), labels, model.classes)


def _check_classes(whose: str, classes: tuple[str, ...], model: Generator) -> None:
    if classes != model.classes:
        raise InputError(
            f"The model draws {len(model.classes)} classes ({', '.join(model.classes[:10])}), {whose} {len(classes)} "
            f"({', '.join(classes[:10])}): they must be the same, in the same order.",
            where="classes",
        )


def _taught(plan: Plan, data: Dataset, name: str, progress: Progress) -> torch.nn.Module:
    """A classifier of the first `plan.images` images of a set, spread over all of it."""
    chosen = spread(min(plan.images, len(data)), len(data))
    assert data.labels is not None
    some = Dataset(data.name, data.pixels[chosen], data.labels[chosen], data.classes)

    def tell(done: int, total: int, loss: float) -> None:
        if done % 50 == 0 or done == total:
            progress(f"classifier of {name} images: step {done:,} of {total:,}, loss {loss:.3f}")

    return learn(some, plan.width, plan.recipe, kept=plan.folder / f"{name}.pt", progress=tell)


def _entry(network: torch.nn.Module, shown: Dataset, learned: int | None, recipe: Recipe) -> dict[str, Any]:
    value = accuracy(network, shown)
    return {
        "value": value,
        "interval": interval(value, len(shown)),
        "images": len(shown),
        "learned": learned,
        "protocol": f"airbench, {recipe.epochs:g} epochs, one view",
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `python -m training cas`."""
    add = parser.add_argument
    add("checkpoint", type=Path, help="NAME.safetensors of a model with classes")
    add(
        "--data",
        type=commandline.place,
        required=True,
        help="the data that it learned: MNIST, CIFAR-10, or train and test by class",
    )
    add("--out", type=Path, required=True, help="folder that holds the classifiers' runs; the same command goes on")
    add("--classifier", type=Path, help="one that has learned the real images (training classifier); default: train it")
    add(
        "--images",
        type=commandline.within(1, 1_000_000),
        help="generated images; default: as many as there are for training",
    )
    add_learning_flags(parser)


def run(typed: argparse.Namespace) -> int:
    """Prints the three accuracies as JSON.

    Raises:
        InputError, CheckpointError: as `measure`; no such checkpoints, or ones that are no sampler and no classifier.
    """
    for path in (typed.checkpoint, typed.classifier):
        if path is not None and not path.is_file():
            raise InputError(f"There is no checkpoint {str(path)!r}.", where="checkpoint")
    if typed.threads:
        torch.set_num_threads(typed.threads)
    model = load(typed.checkpoint, Generator)
    judge = load(typed.classifier, Classifier) if typed.classifier else None
    train, test = load_labelled(typed.data, model.image_size, model.channels)
    images = len(train) if typed.images is None else typed.images
    if images < len(model.classes):
        raise InputError(f"--images is at least one for each class, not {images}.", where="images")
    typed.out.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(epochs=typed.epochs, seed=typed.seed)
    found = measure(Plan(model, train, test, judge, images, recipe, typed.width, typed.out), say)
    about = {"model": model.digest, "classifier": judge.digest if judge else None, "data": train.digest}
    say(strict_json.dumps(found | {"of": about}, indent=2), sys.stdout)
    return 0

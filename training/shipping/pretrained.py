"""`python -m training pretrained`: every shipped model again, from data to checkpoint to card.

A recipe is a run's configuration in `training/recipes/NAME.json`; its data paths stand under the folder that `--data`
names, and a shipped model that it starts with in that of `--models`. `then` lists further runs, each by what differs
from the one before, whose generators it goes on with. What was begun is resumed, what is finished is not trained
again, so the command can be stopped at any time.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import torch

import metrics
from models import InputError, load, save, with_metadata
from training.games.cyclegan_options import CycleGANRun
from training.games.kinds import RUNS, Run
from training.options.flags import from_dict, merged
from training.shipping.measure import Plan, SamplerPlan, TranslatorPlan, evenly, measure, split_of

RECIPES = Path(__file__).parents[1] / "recipes"
MAX_BYTES = 8_000_000

HOW_TO_GET_DATA = (
    "cifar10 holds train and test, each with one folder of images for each class (or CIFAR-10's own files), MNIST "
    "what torchvision.datasets.MNIST downloads, horse2zebra trainA, trainB, testA and testB as its authors give it out"
)


def names() -> list[str]:
    """The shipped models that have a recipe."""
    return sorted(path.stem for path in RECIPES.glob("*.json"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's flags to its parser."""
    parser.add_argument("names", nargs="*", default=names(), help=f"of {', '.join(names())}; default: all")
    parser.add_argument("--data", type=Path, required=True, help=f"folder of the data sets: {HOW_TO_GET_DATA}")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for the runs")
    parser.add_argument("--models", type=Path, default=Path("models/pretrained"), help="folder to ship to")
    parser.add_argument("--statistics", type=Path, help="statistics .npz of the training images, in place of them")
    parser.add_argument("--reference-images", type=int, help="training images to compare with, in place of all")
    parser.add_argument("--images", type=int, default=50_000, help="generated images for FID")
    parser.add_argument("--feature-images", type=int, default=2_000, help="generated images for KID and the failures")
    parser.add_argument(
        "--backend", choices=("torch", "openvino"), default="torch", help="what runs the Inception (docs/metrics.md)"
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "int8"),
        default="float32",
        help="of the Inception's arithmetic; cards name a reduced one",
    )
    parser.add_argument("--card-only", action="store_true", help="draw and write the cards of what is shipped")


def run(arguments: argparse.Namespace, extractor: metrics.Extractor | None = None) -> int:
    """Trains, ships, measures (with the Inception, by default) and describes the named models; the exit status."""
    from training.run.loop import train
    from training.shipping.card import write_card  # only now: --help does without them

    for name in arguments.names:
        if name not in names():
            raise InputError(f"There is no recipe {name!r}; there are {', '.join(names())}.", where="names")
    # what it lacks is said before training
    extractor = extractor or metrics.extractor(backend=arguments.backend, precision=arguments.precision)
    for name in arguments.names:
        recipe = json.loads((RECIPES / f"{name}.json").read_text())
        configs = _runs_of(recipe, name, arguments)
        plan = _plan_of(configs[-1], arguments)
        shipped = arguments.models / f"{name}.safetensors"
        if not arguments.card_only:
            for config in configs:
                outcome = train(config, resume=(Path(config.output.out) / "state.pt").exists())
                if not outcome.finished:
                    return 130
            ship(Path(outcome.checkpoint), shipped)
            metadata = load(shipped).metadata
            with_metadata(shipped, dataclasses.replace(metadata, metrics=measure(shipped, plan, _say, extractor)))
        command = f"python -m training pretrained {name} --data DATA"
        _say(str(write_card(shipped, plan, command, Path(configs[-1].output.out) / "curves.png", extractor)))
    return 0


def ship(checkpoint: Path, destination: Path) -> None:
    """Writes a run's checkpoint in half precision, as the service loads it by default.

    Raises:
        InputError: the file would be larger than 8 MB.
    """
    model = load(checkpoint)
    save(destination, model.parts, model.metadata, half=True)
    if destination.stat().st_size > MAX_BYTES:
        destination.unlink()
        raise InputError(f"{destination.name} would be larger than {MAX_BYTES:,} bytes: make the network narrower.")


def _runs_of(recipe: dict[str, Any], name: str, arguments: argparse.Namespace) -> list[Run]:
    """The recipe's runs, in order; each after the first starts with the generators of the one before."""
    kind = RUNS[recipe["kind"]]
    options = merged(recipe["run"], {"data": {"data": str(arguments.data / recipe["data"])}})
    start = str(arguments.models / f"{recipe['start']}.safetensors") if "start" in recipe else ""
    runs = []
    for number, changes in enumerate([{}, *recipe.get("then", [])], 1):
        folder = arguments.runs / (name if number == 1 else f"{name}-{number}")
        places = {"output": {"out": str(folder), "name": name}, "network": {"start": start}}
        options = merged(merged(options, changes), places)
        config = from_dict(kind, options, origin=f"{name}.json")
        runs.append(_faster(config) if torch.cuda.is_available() else config)
        start = str(folder / f"{name}.safetensors")
    return runs


def _faster(config: Run) -> Run:
    """On a GPU: with `compile` or `graphs`, three times as fast, where that is tried."""
    projected, translator = config.network.discriminator == "projected", isinstance(config, CycleGANRun)
    machine = dataclasses.replace(
        config.machine, compile=translator and not projected, graphs=projected and not translator
    )
    return dataclasses.replace(config, machine=machine)


def _plan_of(run: Run, arguments: argparse.Namespace) -> Plan:
    if isinstance(run, CycleGANRun):
        return TranslatorPlan(Path(run.data.data))
    reference = split_of(run, "train")
    if arguments.reference_images:
        reference = evenly(reference, arguments.reference_images)
    return SamplerPlan(
        arguments.statistics or reference, split_of(run, "test"), arguments.images, arguments.feature_images
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

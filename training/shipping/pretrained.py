"""`python -m training pretrained`: every shipped model again, from data to checkpoint to card.

A recipe is a run's configuration, `training/recipes/NAME.json`, as `--config` reads it. Where a model takes several
runs, `NAME.2.json` and so on are the further ones, each of which starts with the generators of the one before. Their
paths below `data/`, `runs/` and `models/pretrained/` stand for the folders that this command is given. What was begun
is resumed, what is finished is not trained again, so the command can be stopped at any time.
"""

import argparse
import dataclasses
from functools import singledispatch
from pathlib import Path

import torch

import metrics
import models
from models import InputError, commandline, load, save, with_directions, with_metadata
from training.engine.console import say
from training.engine.packages import require_packages
from training.games.alae_options import ALAERun
from training.games.sampler import SamplerRun
from training.games.table import games
from training.games.translator import TranslatorRun
from training.options.flags import from_dict, merged, read_json
from training.options.run import Run
from training.options.shared import CHECKPOINTS
from training.shipping import second, truncation
from training.shipping.measure import AutoencoderPlan, Plan, SamplerPlan, TranslatorPlan, evenly, measure, split_of

ABOUT = "Train the shipped models again, from data to checkpoint to card."
RECIPES = Path(__file__).parents[1] / "recipes"
PRETRAINED = Path(models.__file__).parent / "pretrained"
MAX_BYTES = 8_000_000
PAIRED = frozenset({"google2openmoji"})  # data sets whose test pictures are pairs: equal names alone do not tell

HOW_TO_GET_DATA = (
    "cifar10 holds train and test, each with one folder of images for each class (or CIFAR-10's own files), MNIST "
    "what torchvision.datasets.MNIST downloads, horse2zebra trainA, trainB, testA and testB as its authors give it "
    "out, avatars what `make avatars` draws, emoji what `make emoji` makes"
)


def names() -> list[str]:
    """The models that have a recipe."""
    return sorted(path.stem for path in RECIPES.glob("*.json") if "." not in path.stem)


def shipped() -> list[str]:
    """Those of them that are shipped."""
    return [name for name in names() if (PRETRAINED / f"{name}.safetensors").exists()]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's flags to its parser."""
    parser.add_argument("names", nargs="*", default=shipped(), help=f"of {', '.join(names())}; default: those shipped")
    parser.add_argument("--data", type=Path, required=True, help=f"folder of the data sets: {HOW_TO_GET_DATA}")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for the runs")
    parser.add_argument("--models", type=Path, default=Path("models/pretrained"), help="folder to ship to")
    parser.add_argument("--statistics", type=Path, help="statistics .npz of the training images, in place of them")
    parser.add_argument(
        "--reference-images",
        type=commandline.within(2, 1_000_000),
        help="training images to compare with, in place of all",
    )
    parser.add_argument(
        "--images", type=commandline.within(2, 1_000_000), default=50_000, help="generated images for FID"
    )
    parser.add_argument(
        "--feature-images",
        type=commandline.within(2, 1_000_000),
        default=2_000,
        help="generated images for KID and the failures",
    )
    parser.add_argument(
        "--backend", choices=("torch", "openvino"), default="torch", help="what runs the Inception (docs/metrics.md)"
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "int8"),
        default="float32",
        help="of the Inception's arithmetic; cards name a reduced one",
    )
    parser.add_argument(
        "--outlines", type=Path, help="outlines of a translator's testA and testB (python -m training outlines)"
    )
    parser.add_argument(
        "--classifier",
        type=Path,
        help="one of the samplers' data (python -m training classifier): a second distance and its floor for each",
    )
    parser.add_argument(
        "--truncation", action="store_true", help="samplers: FID against recall over truncations, a curve on the card"
    )
    parser.add_argument(
        "--card-only",
        action="store_true",
        help="train nothing: draw and write the cards of what is shipped, and measure translators anew; with "
        "--classifier and --truncation, what these measure of samplers",
    )


def run(arguments: argparse.Namespace, extractor: metrics.Extractor | None = None) -> int:
    """Trains, ships, measures (with the Inception, by default) and describes the named models; the exit status."""
    from training.run.loop import train
    from training.shipping.card import write_card  # only now: --help does without them

    require_packages("matplotlib")
    for name in arguments.names:
        if name not in names():
            raise InputError(f"There is no recipe {name!r}; there are {', '.join(names())}.", where="names")
    # what it lacks is said before training
    extractor = extractor or metrics.extractor(backend=arguments.backend, precision=arguments.precision)
    for name in arguments.names:
        configs = runs_of(name, arguments)
        plan = plan_of(configs[-1], arguments)
        shipped = arguments.models / f"{name}.safetensors"
        if not arguments.card_only:
            for config in configs:
                outcome = train(config, resume=None)
                if not outcome.finished:
                    return 130
            ship(Path(outcome.checkpoint), shipped)
        metadata = load(shipped).metadata
        found = metadata.metrics
        if not arguments.card_only or isinstance(plan, TranslatorPlan):  # a translator's take no hour
            found = measure(shipped, plan, say, extractor)
        if not isinstance(plan, TranslatorPlan):
            found = found | second.measured(shipped, _sampler_plan(plan), say, extractor)
            if arguments.truncation:
                found = found | truncation.measured(shipped, _sampler_plan(plan), say, extractor)
        if found != metadata.metrics:
            with_metadata(shipped, dataclasses.replace(metadata, metrics=found))
        command = f"python -m training pretrained {name} --data DATA"
        say(str(write_card(shipped, plan, command, Path(configs[-1].output.out) / "curves.png", extractor)))
    return 0


def _sampler_plan(plan: SamplerPlan | AutoencoderPlan) -> SamplerPlan:
    return plan.sampler if isinstance(plan, AutoencoderPlan) else plan


def ship(checkpoint: Path, destination: Path) -> None:
    """Writes a run's checkpoint in half precision, as the service loads it by default, a generator's with directions.

    Raises:
        InputError: the file would be larger than 8 MB.
    """
    model = load(checkpoint)
    save(destination, with_directions(model.parts, model.metadata), model.metadata, half=True)
    if destination.stat().st_size > MAX_BYTES:
        destination.unlink()
        raise InputError(f"{destination.name} would be larger than {MAX_BYTES:,} bytes: make the network narrower.")


def runs_of(name: str, arguments: argparse.Namespace) -> list[Run]:
    """The runs that a model takes, in order; each after the first starts with the generators of the one before."""
    runs: list[Run] = []
    stages = sorted(RECIPES.glob(f"{name}.[0-9]*.json"), key=lambda path: int(path.stem.rpartition(".")[2]))
    for number, path in enumerate([RECIPES / f"{name}.json", *stages], 1):
        config = read_json(path, "the recipe")
        folder = arguments.runs / (name if number == 1 else f"{name}-{number}")
        places = {"output": {"out": str(folder), "name": name}}
        run = from_dict(games()[config["kind"]].Run, merged(config, places), origin=path.name)
        network = {name: _placed(path, arguments) for name, path in run.network if name in CHECKPOINTS}
        run = run.changed(data={"data": _placed(run.data.data, arguments)}, network=network)
        runs.append(run.changed(machine=run.on_a_gpu()) if torch.cuda.is_available() else run)
    return runs


def _placed(path: str, arguments: argparse.Namespace) -> str:
    """A recipe's path, in the folders that the command was given."""
    for folder, given in (
        ("data", arguments.data),
        ("runs", arguments.runs),
        ("models/pretrained", arguments.models),
    ):
        if Path(path).is_relative_to(folder):
            return str(given / Path(path).relative_to(folder))
    return path


@singledispatch
def plan_of(run: Run, arguments: argparse.Namespace) -> Plan:
    """What to measure a shipped model with, by the family of its run.

    Raises:
        InputError: nothing is known that would measure such a run's model.
    """
    raise InputError(f"There is no card for what a run of {run.kind} gives.", where="names")


@plan_of.register
def _of_autoencoder(run: ALAERun, arguments: argparse.Namespace) -> Plan:
    return AutoencoderPlan(_of_sampler(run, arguments), run.data.data)


@plan_of.register
def _of_sampler(run: SamplerRun, arguments: argparse.Namespace) -> SamplerPlan:
    training = split_of(run, "train")
    reference = evenly(training, arguments.reference_images) if arguments.reference_images else training
    return SamplerPlan(
        arguments.statistics or reference,
        split_of(run, "test"),
        training,
        arguments.images,
        arguments.feature_images,
        arguments.classifier,
    )


@plan_of.register
def _of_translator(run: TranslatorRun, arguments: argparse.Namespace) -> Plan:
    data = Path(run.data.data)
    return TranslatorPlan(data, arguments.outlines, pairs=data.name in PAIRED)

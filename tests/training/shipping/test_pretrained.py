"""`make pretrained` on tiny recipes: from data to a shipped checkpoint and its card, measured with a small stand-in."""

import argparse
import dataclasses
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

import metrics
import models
from models import InputError
from training.networks.backbone import EfficientNetLite
from training.shipping import pretrained, rulers

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
QUICK = {"kimg": 0.02, "batch": 4, "tick_kimg": 0.02, "sample_kimg": 0.02, "snapshot_kimg": 0.02}
TINY = {"width": 4, "discriminator_width": 4}
SAMPLER = {
    "kind": "dcgan",
    "data": {"data": "data/cifar10", "image_size": 16},
    "network": TINY | {"latent_size": 8},
    "pace": QUICK,
    "watch": {"tensorboard": False},
}
RECIPES = {
    "sampler": SAMPLER,
    "sampler-classes": SAMPLER
    | {
        "data": SAMPLER["data"] | {"conditional": True},
        "network": SAMPLER["network"] | {"class_embedding": 0, "start": "models/pretrained/sampler.safetensors"},
    },
    "autoencoder": {
        "kind": "alae",
        "data": {"data": "data/cifar10", "image_size": 16},
        "network": {"network": "alae-mlp", "hidden": 8, "latent_size": 8, "code_size": 6},
        "pace": QUICK,
        "watch": {"tensorboard": False},
    },
    "translator": {
        "kind": "cyclegan",
        "data": {"data": "data/horse2zebra", "image_size": 32},
        "network": TINY | {"blocks": 1},
        "optimizer": {"decay_kimg": 0.0},
        "pace": QUICK | {"batch": 2},
        "watch": {"tensorboard": False},
    },
}


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    for name, recipe in RECIPES.items():
        (recipes / f"{name}.json").write_text(json.dumps(recipe))
    monkeypatch.setattr(pretrained, "RECIPES", recipes)
    monkeypatch.setattr(rulers, "_judge", lambda: lambda photos: torch.zeros(len(photos), 1000))
    (tmp_path / "shipped").mkdir()
    parser = argparse.ArgumentParser()
    pretrained.add_arguments(parser)
    places = ["--data", str(FIXTURES), "--runs", str(tmp_path / "runs"), "--models", str(tmp_path / "shipped")]
    return parser.parse_args(
        [*RECIPES, *places, "--images", "24", "--feature-images", "20", "--reference-images", "30"]
    )


def test_from_data_to_checkpoint_to_card(arguments: argparse.Namespace, small: metrics.Extractor) -> None:
    assert pretrained.run(arguments, small) == 0
    shipped = arguments.models
    sampler, translator = models.load(shipped / "sampler.safetensors"), models.load(shipped / "translator.safetensors")
    assert isinstance(sampler, models.Generator)
    assert isinstance(translator, models.Translator)
    assert "sefa-1" in sampler.latent_directions
    assert set(sampler.metadata.metrics) == {"fid", "kid", "precision", "recall"}
    fid = sampler.metadata.metrics["fid"]
    assert (fid["images"], fid["reference"], fid["reference_images"]) == (24, "cifar10 train", 30)
    assert sampler.metadata.metrics["kid"]["reference"] == "cifar10 test"
    assert {f"fid_{way}{rest}" for way in translator.directions for rest in ("", "_untouched")} <= set(
        translator.metadata.metrics
    )
    classes = models.load(shipped / "sampler-classes.safetensors").metadata
    assert classes.training["start"] == {"name": "sampler", "digest": sampler.digest, "images": 20}
    assert "start" not in classes.training["config"]["network"]  # a path of this machine
    began = f"| Began as | sampler, digest `{sampler.digest[:16]}`, trained on 20 images |"
    assert began in (shipped / "sampler-classes.md").read_text()
    assert "Began as" not in (shipped / "sampler.md").read_text()
    for name, pictures in (
        ("sampler", {"samples", "interpolations", "failures", "curves"}),
        ("translator", {"a_to_b", "b_to_a", "failures_a_to_b", "failures_b_to_a", "curves"}),
        (
            "autoencoder",
            {"samples", "interpolations", "failures", "reconstructions", "failures_reconstructions", "curves"},
        ),
    ):
        card = (shipped / f"{name}.md").read_text()
        files = {path.name for path in shipped.glob(f"{name}.*.*")}
        assert {file.split(".")[1] for file in files} == pictures
        assert all(f"({file})" in card for file in files)
        assert models.sha256_of(shipped / f"{name}.safetensors") in card
        assert "seed 0" in card
    autoencoder = models.load(shipped / "autoencoder.safetensors", models.Autoencoder)
    told = autoencoder.metadata.metrics
    probed = {f"{way}_{layer}" for way in ("nearest_neighbour", "linear") for layer in ("first", "long", "short")}
    assert set(told) == {"fid", "kid", "precision", "recall", "fid_real", "fid_reconstructions"} | probed
    assert told["fid_reconstructions"]["reference"] == "cifar10 test"
    assert told["fid_real"]["reference"] == told["fid"]["reference"] == "cifar10 train"
    assert told["nearest_neighbour_long"]["protocol"] == "accuracy on 8 activations before the encoder's last layer"
    assert told["linear_short"]["protocol"] == "accuracy on 6 components of codes"
    assert "It also finds the code of an image, 6 numbers" in (shipped / "autoencoder.md").read_text()
    fid = sampler.metadata.metrics["fid"]["value"]
    assert f"| fid | {fid:.4g} |" in (shipped / "sampler.md").read_text()
    with Image.open(shipped / "sampler.samples.webp") as sheet:
        assert sheet.size == (8 * 18 + 2, 8 * 18 + 2)


def test_shipped_files_are_half_precision(arguments: argparse.Namespace, tmp_path: Path) -> None:
    config = models.DCGANConfig(image_size=16, width=64)
    models.save(tmp_path / "x.safetensors", config.parts(), models.metadata_of(config))
    pretrained.ship(tmp_path / "x.safetensors", tmp_path / "shipped" / "x.safetensors")
    sizes = [path.stat().st_size for path in (tmp_path / "x.safetensors", tmp_path / "shipped" / "x.safetensors")]
    assert sizes[1] < 0.51 * sizes[0]


def test_what_is_too_large_to_ship_is_not_shipped(
    arguments: argparse.Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "MAX_BYTES", 1000)
    config = models.DCGANConfig(image_size=16, width=4)
    models.save(tmp_path / "x.safetensors", config.parts(), models.metadata_of(config))
    with pytest.raises(InputError, match="narrower"):
        pretrained.ship(tmp_path / "x.safetensors", tmp_path / "shipped" / "x.safetensors")
    assert not (tmp_path / "shipped" / "x.safetensors").exists()


def test_a_gpu_compiles_or_captures_what_gains_by_it(
    arguments: argparse.Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sampler", "translator"):
        projected = RECIPES[name]["network"] | {"discriminator": "projected"}
        further = RECIPES[name] | {"network": projected, "data": RECIPES[name]["data"] | {"image_size": 64}}
        (tmp_path / "recipes" / f"{name}.2.json").write_text(json.dumps(further))
    for gpu in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        runs = {name: pretrained.runs_of(name, arguments) for name in RECIPES}
        asked = {name: [(run.machine.compile, run.machine.graphs) for run in each] for name, each in runs.items()}
        assert asked == {
            "sampler": [(False, False), (False, gpu)],
            "sampler-classes": [(False, False)],
            "autoencoder": [(False, False)],
            "translator": [(gpu, False), (False, False)],
        }


def test_paths_of_a_recipe_are_the_folders_that_were_given(arguments: argparse.Namespace) -> None:
    (run,) = pretrained.runs_of("sampler-classes", arguments)
    assert run.data.data == str(FIXTURES / "cifar10")
    assert run.network.start == str(arguments.models / "sampler.safetensors")
    assert run.output.out == str(arguments.runs / "sampler-classes")


def test_further_runs_go_on_with_the_generator(
    arguments: argparse.Namespace, tmp_path: Path, small: metrics.Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.games.dcgan.backbone", EfficientNetLite)  # made-up weights will do
    start = {"discriminator": "projected", "start": "runs/sampler/sampler.safetensors"}
    second = SAMPLER | {"network": SAMPLER["network"] | start, "optimizer": {"d_lr": 1e-4}}
    second |= {"pace": QUICK | {"seed": 1}}
    third = second | {"pace": QUICK | {"seed": 1, "kimg": 0.04}}
    third |= {"network": second["network"] | {"start": "runs/sampler-2/sampler.safetensors"}}
    for number, further in ((2, second), (3, third)):
        (tmp_path / "recipes" / f"sampler.{number}.json").write_text(json.dumps(further))
    arguments.names = ["sampler"]
    assert pretrained.run(arguments, dataclasses.replace(small, precision="int8")) == 0
    folders = [tmp_path / "runs" / name for name in ("sampler", "sampler-2", "sampler-3")]
    first, second, third = (models.load(folder / "sampler.safetensors") for folder in folders)
    assert "start" not in first.metadata.training
    assert second.metadata.training["start"] == {"name": "sampler", "digest": first.digest, "images": 20}
    assert third.metadata.training["start"] == {"name": "sampler", "digest": second.digest, "images": 40}
    configs = [model.metadata.training["config"] for model in (first, second, third)]
    assert [config["optimizer"]["d_lr"] for config in configs] == [2e-4, 1e-4, 1e-4]
    assert [(config["pace"]["seed"], config["pace"]["kimg"]) for config in configs] == [(0, 0.02), (1, 0.02), (1, 0.04)]
    shipped = models.load(arguments.models / "sampler.safetensors")
    assert shipped.metadata.training == third.metadata.training
    card = (arguments.models / "sampler.md").read_text()
    assert "| pytorch-fid, int8 arithmetic |" in card
    assert "| Discriminator | projected (Sauer et al. 2021)" in card
    assert f"| Began as | sampler, digest `{second.digest[:16]}`, trained on 40 images |" in card


def test_what_is_asked_for_by_default_is_what_is_shipped() -> None:
    shipped = {path.stem for path in (Path(models.__file__).parent / "pretrained").glob("*.safetensors")}
    assert set(pretrained.shipped()) == shipped
    assert set(pretrained.names()) > shipped


def test_an_unknown_recipe_is_refused(arguments: argparse.Namespace) -> None:
    arguments.names = ["stylegan"]
    with pytest.raises(InputError, match="there are autoencoder, sampler, sampler-classes, translator"):
        pretrained.run(arguments)

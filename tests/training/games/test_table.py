"""The contract that every game keeps, whatever its paper: a new one is among these by standing in the table."""

import json
import math
from functools import singledispatch
from pathlib import Path

import pytest
import torch

import models
from training import train
from training.cli import main
from training.games.table import games
from training.options.flags import from_dict, merged
from training.options.run import Run
from training.run.build import build, stage

KINDS = list(games())
RECIPES = sorted((Path(__file__).parents[3] / "training" / "recipes").glob("*.json"))


@pytest.fixture(scope="module")
def run_in(smallest):
    """A run of a game with four steps, by its kind and folder."""

    def make(kind: str, folder: Path, **changes: dict) -> Run:
        base = merged(smallest(kind), {"output": {"out": str(folder), "name": "run"}})
        return from_dict(games()[kind].Run, merged(base, changes))

    return make


@pytest.fixture
def run_of(run_in, tmp_path):
    """The same, by its kind alone."""
    return lambda kind, **changes: run_in(kind, tmp_path / "run", **changes)


@pytest.fixture(scope="module", params=KINDS)
def trained(request, run_in, tmp_path_factory):
    """A run of each game that went straight to its end, and what came of it."""
    run = run_in(request.param, tmp_path_factory.mktemp(request.param) / "run")
    return run, train(run)


def steps(run: Run) -> int:
    game, _ = build(run, stage(run.machine, run.pace))
    return run.pace.images // game.images_per_step


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_tells_finite_numbers(kind, run_of, stepped):
    game, told = stepped(run_of(kind), steps=3)
    for scalars in told:
        assert {"loss_d", "loss_g", "g_gradient_norm"} <= scalars.keys()
        assert all(math.isfinite(value) for value in scalars.values())
        assert scalars["g_gradient_norm"] > 0
    assert game.data_seconds > 0
    assert set(game.players.averages) <= set(game.players.networks)
    assert set(game.family.weights()) == set(game.players.averages)


def test_n_steps_and_n_more_are_2n(trained, run_of):
    straight, _ = trained
    halves = run_of(straight.kind)
    train(halves.changed(pace={"kimg": straight.pace.kimg / 2}))
    assert train(halves, resume=True).finished
    a, b = (torch.load(Path(run.output.out) / "state.pt", weights_only=True) for run in (straight, halves))
    for part in ("networks", "averages"):
        for name, tensors in a[part].items():
            assert all(torch.equal(tensor, b[part][name][key]) for key, tensor in tensors.items()), (part, name)
    for name in a["optimizers"]:
        for key, moments in a["optimizers"][name]["state"].items():
            other = b["optimizers"][name]["state"][key]
            assert all(torch.equal(value, other[moment]) for moment, value in moments.items()), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_dry_run_prints_the_run_and_its_size(kind, run_of, capsys, tmp_path):
    run = run_of(kind)
    path = tmp_path / "run.json"
    path.write_text(run.model_dump_json())
    assert main(["--config", str(path), "--dry-run"]) == 0
    said = capsys.readouterr()
    assert from_dict(type(run), json.loads(said.out)) == run
    assert f"steps: {steps(run)} of {run.pace.images // steps(run)} images" in said.err
    assert "memory: about" in said.err
    assert not Path(run.output.out).exists()


@singledispatch
def answer(model: models.Model) -> torch.Tensor:
    raise NotImplementedError(model)


@answer.register
def _(model: models.Generator) -> torch.Tensor:
    return model(models.draw([1, 2], model.latent_size), torch.tensor([0, 1]) if model.classes else None)


@answer.register
def _(model: models.Translator) -> torch.Tensor:
    return torch.cat(
        [model(torch.zeros(2 // len(model.directions), 3, 32, 32), direction) for direction in model.directions]
    )


def test_the_checkpoint_loads_and_answers(trained):
    run, outcome = trained
    model = models.load(outcome.checkpoint)
    images = answer(model)
    assert len(images) == 2
    assert images.abs().max() <= 1
    assert model.metadata.training["run"] == run.kind
    assert {"dataset", "dataset_digest", "loss", "config"} <= model.metadata.training.keys()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_a_configuration(recipe, tmp_path):
    """Whole, but for the folder that it is to be trained in."""
    config = json.loads(recipe.read_text())
    run = from_dict(games()[config["kind"]].Run, merged(config, {"output": {"out": str(tmp_path)}}))
    assert run.data.data.startswith("data/")
    assert run.pace.kimg > 0

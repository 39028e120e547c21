"""Configuration: dataclass -> flags -> JSON and back, strictly."""

import argparse
import dataclasses
import json

import pytest

from models import InputError
from training import CycleGANRun, DCGANRun
from training.games.kinds import RUNS, kind_of
from training.options.flags import add_flags, defaults, differences, from_dict, given, groups, merged, to_dict

BASE = {"data": {"data": "fake"}, "output": {"out": "somewhere"}}


@pytest.mark.parametrize("kind", RUNS.values())
def test_json_round_trip(kind):
    run = from_dict(kind, BASE, origin="test")
    again = from_dict(kind, json.loads(json.dumps(to_dict(run))), origin="test")
    assert again == run
    assert RUNS[kind_of(run)] is kind


@pytest.mark.parametrize("kind", RUNS.values())
def test_every_option_has_one_flag_of_its_own_with_help(kind):
    names = [field.name for _, group in groups(kind) for field in dataclasses.fields(group)]
    assert len(names) == len(set(names))
    parser = argparse.ArgumentParser()
    add_flags(parser, kind)
    text = parser.format_help()
    for name in names:
        assert "--" + name.replace("_", "-") in text
    assert given(parser.parse_args([]), kind) == {}, "flags not typed leave no trace"


def test_flags_reach_their_options():
    parser = argparse.ArgumentParser()
    add_flags(parser, DCGANRun)
    typed = parser.parse_args(
        ["--data", "fake", "--out", "o", "--flips", "--no-tensorboard", "--batch", "8", "--g-lr", "1e-3"]
    )
    run = from_dict(DCGANRun, given(typed, DCGANRun), origin="flags")
    assert (run.data.flips, run.watch.tensorboard, run.pace.batch, run.optimizer.g_lr) == (True, False, 8, 1e-3)


def test_a_run_cannot_be_changed():
    run = from_dict(DCGANRun, BASE, origin="test")
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.pace.batch = 3  # type: ignore[misc]


def test_cyclegan_defaults_are_the_papers():
    run = from_dict(CycleGANRun, BASE, origin="test")
    assert (run.pace.batch, run.game.cycle, run.game.identity, run.game.pool) == (1, 10.0, 0.5, 50)
    assert (run.game.loss, run.optimizer.g_lr, run.optimizer.beta1, run.load_size) == ("lsgan", 2e-4, 0.5, 286)
    assert run.pace.kimg == pytest.approx(200 * 1.334)
    assert run.optimizer.decay_kimg == pytest.approx(100 * 1.334)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pace": {"bacth": 3}}, "unknown option of `pace` 'bacth'"),
        ({"paces": {}}, "unknown group 'paces'"),
        ({"pace": {"batch": "many"}}, "pace.batch must be int"),
        ({"pace": {"batch": True}}, "pace.batch must be int"),
        ({"pace": 3}, "must be an object of options"),
        ({"pace": {"batch": 0}}, "--batch must be more than 0"),
        ({"pace": {"seed": -1}}, "--seed"),
        ({"game": {"loss": "nice"}}, "--loss must be one of minimax"),
        ({"data": {"image_size": 48}}, "--image-size must be one of"),
        ({"data": {"channels": 2}}, "--channels must be 1 or 3"),
        ({"data": {"data": ""}}, "--data is missing"),
        ({"output": {"out": ""}}, "--out is missing"),
        ({"network": {"network": "vae"}}, "network.network must be one of dcgan, mlp"),
        ({"game": {"label_smoothing": 0.7}}, "--label-smoothing"),
        ({"game": {"label_smoothing": 0.1, "loss": "hinge"}}, "has no meaning with hinge"),
        ({"game": {"augment": "color,blur"}}, "--augment takes any of"),
        (
            {"game": {"loss": "wgan-gp"}, "network": {"discriminator_norm": "batch"}},
            "--discriminator-norm must be layer, spectral or none",
        ),
        ({"optimizer": {"decay_kimg": 1e6}}, "--decay-kimg"),
        ({"optimizer": {"g_lr": float("nan")}}, "--g-lr"),
        ({"game": {"r1": 1.0}, "network": {"discriminator_norm": "batch"}}, "--discriminator-norm must be layer"),
        ({"pace": {"kimg": float("inf")}}, "--kimg must be a finite number"),
        ({"pace": {"kimg": 0.0004}}, "--kimg must be 0.001"),
        ({"output": {"name": "a/b"}}, "--name must be a file's name"),
        ({"watch": {"fid_images": 1}}, "--fid-images"),
        ({"watch": {"kid": True}}, "--kid needs --fid-kimg"),
        ({"watch": {"fid_reference": "stats.npz"}}, "--fid-reference needs --fid-kimg"),
        ({"machine": {"compile": True}}, "--compile is for cyclegan"),
    ],
)
def test_bad_values_are_refused_with_their_name(changes, words):
    with pytest.raises(InputError, match="(?s)" + words.replace("[", r"\[").replace("(", r"\(")):
        from_dict(DCGANRun, merged(BASE, changes), origin="run.json")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": {"image_size": 130}}, "multiple of 4"),
        ({"data": {"load_size": 100}}, "--load-size"),
        ({"game": {"label_smoothing": 0.1, "loss": "wgan-gp"}}, "has no meaning with wgan-gp"),
        ({"game": {"d_steps": 0}}, "--d-steps"),
        ({"game": {"cycle": -1.0}}, "--cycle"),
    ],
)
def test_bad_translator_values(changes, words):
    with pytest.raises(InputError, match=words):
        from_dict(CycleGANRun, merged(BASE, changes), origin="run.json")


@pytest.mark.parametrize(
    ("changes", "norm"),
    [
        ({}, "batch"),
        ({"game": {"loss": "wgan-gp"}}, "layer"),
        ({"game": {"r1": 1.0}}, "layer"),
        ({"network": {"discriminator_norm": "spectral"}, "game": {"loss": "wgan-gp"}}, "spectral"),
        ({"network": {"network": "mlp"}, "game": {"loss": "wgan-gp"}}, "none"),
    ],
)
def test_the_norm_is_one_that_the_loss_allows(changes, norm):
    """What `auto` comes to is written down, so that a run's file says what it trained with."""
    run = from_dict(DCGANRun, merged(BASE, changes), origin="test")
    assert run.network.discriminator_norm == norm
    assert from_dict(DCGANRun, to_dict(run), origin="test") == run


def test_whole_numbers_may_stand_for_floats():
    assert from_dict(DCGANRun, merged(BASE, {"pace": {"kimg": 3}}), origin="x").pace.kimg == 3.0


def test_differences_name_group_and_option():
    old = defaults(DCGANRun)
    new = merged(old, {"pace": {"batch": 7}})
    assert differences(old, new) == {"pace.batch": (64, 7)}

"""Configuration: options -> flags -> JSON and back, strictly."""

import argparse
import json

import pytest
from pydantic import ValidationError

from models import InputError
from training import CycleGANRun, DCGANRun
from training.engine.stage import Moment
from training.games.table import games
from training.options.flags import add_flags, differences, from_dict, given, merged, to_dict

RUNS = [game.Run for game in games().values()]
BASE = {"data": {"data": "fake"}, "output": {"out": "somewhere"}}


@pytest.mark.parametrize("kind", RUNS)
def test_json_round_trip(kind):
    run = from_dict(kind, BASE)
    again = from_dict(kind, json.loads(json.dumps(to_dict(run))))
    assert again == run
    assert games()[run.kind].Run is kind


@pytest.mark.parametrize("kind", RUNS)
def test_every_option_has_one_flag_of_its_own_with_help(kind):
    names = [name for group in kind.groups().values() for name in type(group).model_fields]
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
    run = from_dict(DCGANRun, given(typed, DCGANRun))
    assert (run.data.flips, run.watch.tensorboard, run.pace.batch, run.optimizer.g_lr) == (True, False, 8, 1e-3)


def test_a_run_cannot_be_changed():
    run = from_dict(DCGANRun, BASE)
    with pytest.raises(ValidationError, match="frozen"):
        run.pace.batch = 3  # type: ignore[misc]


def test_cyclegan_defaults_are_the_papers():
    run = from_dict(CycleGANRun, BASE)
    assert (run.pace.batch, run.game.cycle, run.game.identity, run.game.pool) == (1, 10.0, 0.5, 50)
    assert (run.game.loss, run.optimizer.g_lr, run.optimizer.beta1, run.load_size) == ("lsgan", 2e-4, 0.5, 286)
    assert run.pace.kimg == pytest.approx(200 * 1.334)
    assert run.optimizer.decay_kimg == pytest.approx(100 * 1.334)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pace": {"bacth": 3}}, "unknown option of `pace` 'bacth'"),
        ({"paces": {}}, "unknown group 'paces'"),
        ({"pace": {"batch": "many"}}, "--batch must be a whole number"),
        ({"pace": {"batch": True}}, "--batch must be a whole number"),
        ({"pace": 3}, "must be an object of options"),
        ({"pace": {"batch": 0}}, "--batch must be more than 0"),
        ({"pace": {"seed": -1}}, "--seed"),
        ({"game": {"loss": "nice"}}, "--loss must be one of minimax"),
        ({"data": {"image_size": 48}}, "--image-size: image_size is one of 16, 32"),
        ({"data": {"channels": 2}}, "--channels: channels is one of 1, 3"),
        ({"data": {"data": ""}}, "--data is missing"),
        ({"output": {"out": ""}}, "--out is missing"),
        ({"network": {"network": "vae"}}, "--network must be one of dcgan, biggan, mlp"),
        ({"game": {"label_smoothing": 0.7}}, "--label-smoothing"),
        ({"game": {"label_smoothing": 0.1, "loss": "hinge"}}, "has no meaning with hinge"),
        ({"game": {"augment": "color,blur"}}, "--augment takes any of"),
        (
            {"game": {"loss": "wgan-gp"}, "network": {"discriminator_norm": "batch"}},
            "--discriminator-norm must be layer, spectral or none",
        ),
        ({"optimizer": {"decay_kimg": 1e6}}, "--decay-kimg"),
        ({"optimizer": {"g_lr": float("nan")}}, "--g-lr"),
        ({"optimizer": {"burn_in_g_lr": 1e-3}}, "--burn-in-g-lr needs --burn-in-kimg"),
        ({"game": {"burn_in_r2": 1.0}, "optimizer": {"burn_in_kimg": 9.0}}, "--burn-in-r2 needs --r2"),
        ({"optimizer": {"burn_in_kimg": 9e3}}, "--burn-in-kimg must be in [0, kimg]"),
        ({"game": {"augment_chance": 0.5}}, "--augment-chance needs --augment"),
        ({"game": {"r1": 1.0}, "network": {"discriminator_norm": "batch"}}, "--discriminator-norm must be layer"),
        ({"pace": {"kimg": float("inf")}}, "--kimg must be a finite number"),
        ({"pace": {"kimg": 0.0004}}, "--kimg must be 0.001 or more"),
        ({"output": {"name": "a/b"}}, "--name must be a file's name"),
        ({"watch": {"fid_images": 1}}, "--fid-images"),
        ({"watch": {"kid": True}}, "--kid needs --fid-kimg"),
        ({"watch": {"fid_reference": "stats.npz"}}, "--fid-reference needs --fid-kimg"),
        ({"machine": {"compile": True}}, "--compile is for cyclegan"),
        ({"pace": {"accumulate": 3}}, "--accumulate must divide --batch 64; got 3"),
        (
            {"pace": {"accumulate": 2}, "game": {"feature_matching": 1.0}},
            "--feature-matching compares means over the whole batch, so it does not go with --accumulate",
        ),
        ({"network": {"network": "biggan", "latent_size": 99}}, "--latent-size: latent_size must be a multiple of 5"),
        (
            {"network": {"network": "biggan", "attention": 24}},
            "--attention: attention is one of 0, 8, 16, 32, not 24",
        ),
        (
            {"network": {"network": "mlp", "discriminator_norm": "spectral"}},
            "--discriminator-norm has no meaning for the discriminator of mlp; got 'spectral'",
        ),
    ],
)
def test_bad_values_are_refused_with_their_name(changes, words):
    with pytest.raises(InputError, match="(?s)" + words.replace("[", r"\[").replace("(", r"\(")):
        from_dict(DCGANRun, merged(BASE, changes), origin="run.json")


def test_a_burn_in_takes_r3gans_numbers_from_where_they_begin_to_where_they_stay():
    """Its CIFAR-10 run: half a cosine over 20 million images, the same for all."""
    run = from_dict(
        DCGANRun,
        BASE
        | {
            "game": {"r1": 0.005, "burn_in_r1": 0.05, "r2": 0.005, "augment": "color", "augment_chance": 0.55},
            "optimizer": {
                "burn_in_kimg": 20000.0, "g_lr": 5e-5, "burn_in_g_lr": 2e-4, "beta2": 0.99, "burn_in_beta2": 0.9,
                "ema_kimg": 5000.0,
            },
            "pace": {"kimg": 100000.0},
        },
    )  # fmt: skip
    numbers = {  # where it begins and where it stays
        run.optimizer.g_rate: (2e-4, 5e-5),
        run.optimizer.d_rate: (2e-4, 2e-4),  # of which nothing was said
        run.optimizer.second_decay: (0.9, 0.99),
        run.optimizer.half_life: (0.0, 5e6),
        run.penalty("r1"): (0.05, 0.005),
        run.penalty("r2"): (0.005, 0.005),
        run.augmented: (0.0, 0.55),
    }
    for number, (begins, stays) in numbers.items():
        for images, left in ((0, 1.0), (5e6, (2 + 2**0.5) / 4), (1e7, 0.5), (2e7, 0.0), (9e7, 0.0)):
            value = number(Moment(0, int(images), run.pace.images))
            assert value == pytest.approx(left * begins + (1 - left) * stays, rel=1e-9), (begins, stays)
    plain = from_dict(DCGANRun, BASE)
    assert [plain.optimizer.half_life(Moment(0, images, 10**6)) for images in (0, 1000, 10**6)] == [0, 50, 10_000]
    assert plain.augmented(Moment(0, 0, 10**6)) == 1


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
        ({"game": {"r2": 1.0}}, "layer"),
        ({"network": {"discriminator_norm": "spectral"}, "game": {"loss": "wgan-gp"}}, "spectral"),
        ({"network": {"network": "mlp"}, "game": {"loss": "wgan-gp"}}, "none"),
    ],
)
def test_the_norm_is_one_that_the_loss_allows(changes, norm):
    """What `auto` comes to is written down, so that a run's file says what it trained with."""
    run = from_dict(DCGANRun, merged(BASE, changes))
    assert run.network.discriminator_norm == norm
    assert from_dict(DCGANRun, to_dict(run)) == run


def test_whole_numbers_may_stand_for_floats():
    assert from_dict(DCGANRun, merged(BASE, {"pace": {"kimg": 3}})).pace.kimg == 3.0


def test_differences_name_group_and_option():
    run = from_dict(DCGANRun, BASE)
    assert differences(run, run.changed(pace={"batch": 7})) == {"pace.batch": (64, 7)}


def test_a_run_made_in_python_says_the_same():
    with pytest.raises(InputError, match="--batch must be more than 0; got 0"):
        DCGANRun(data={"data": "fake"}, output={"out": "x"}, pace={"batch": 0})
    with pytest.raises(InputError, match="unknown group 'self'"):
        from_dict(DCGANRun, {"self": 1})


@pytest.mark.parametrize(("loss", "steps", "rate", "beta2"), [("wgan", 5, 5e-5, 0.99), ("wgan-gp", 5, 1e-4, 0.9)])
def test_a_loss_brings_what_its_paper_asks_for(loss, steps, rate, beta2):
    """Algorithm 1 of either paper; whatever else is asked for goes over it, also where it is the usual default."""
    run = from_dict(DCGANRun, merged(BASE, {"game": {"loss": loss}}))
    optimizer = run.optimizer
    assert (run.game.d_steps, optimizer.g_lr, optimizer.d_lr, optimizer.beta1) == (steps, rate, rate, 0.0)
    assert optimizer.beta2 == beta2
    assert run.advice().startswith(f"--loss {loss}, as its paper: --d-steps 5, --g-lr")
    assert "otherwise" not in run.advice()
    own = from_dict(DCGANRun, merged(BASE, {"game": {"loss": loss, "d_steps": 1}, "optimizer": {"beta1": 0.5}}))
    assert (own.game.d_steps, own.optimizer.beta1, own.optimizer.g_lr) == (1, 0.5, rate)
    assert "otherwise: --d-steps 1 (the paper: 5), --beta1 0.5 (the paper: 0)" in own.advice()
    assert from_dict(DCGANRun, to_dict(own)) == own
    assert from_dict(DCGANRun, BASE).advice() == ""


def test_a_translator_has_a_reference_for_each_direction():
    watch = {"fid_kimg": 1.0, "fid_reference_a": "horses.npz", "fid_reference_b": "zebras.npz"}
    assert from_dict(CycleGANRun, merged(BASE, {"watch": watch})).watch.fid_reference_b == "zebras.npz"
    with pytest.raises(InputError, match="unknown option of `watch` 'fid_reference'"):
        from_dict(CycleGANRun, merged(BASE, {"watch": {"fid_reference": "zebras.npz"}}))
    with pytest.raises(InputError, match="--fid-reference-a needs --fid-kimg"):
        from_dict(CycleGANRun, merged(BASE, {"watch": {"fid_reference_a": "horses.npz"}}))

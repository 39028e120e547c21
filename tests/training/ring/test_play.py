"""The loss laboratory holds what its picture shows. Most runs here are cut short, and bounds leave room."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from models import InputError
from training.cli import main
from training.objective.losses import LOSSES
from training.ring import picture
from training.ring.ensemble import Ensemble, multilayer
from training.ring.play import GAMES, Coverage, Ring, Trial, coverage, gradient_norms, play

EVEN = replace(GAMES["even"], steps=300)
SLOW = replace(GAMES["slow"], steps=400)
SEEDS = (0, 1)


def drawn(ring: Ring, n: int) -> Tensor:
    return ring.draw(n, torch.Generator().manual_seed(0))


# --- the ring and how it is measured


def test_the_ring_is_eight_even_gaussians() -> None:
    ring = Ring(2.0, 0.1)
    centres = ring.centres()
    torch.testing.assert_close(centres.norm(dim=1), torch.full((8,), 2.0))
    neighbours = (centres - centres.roll(1, dims=0)).norm(dim=1)
    torch.testing.assert_close(neighbours, torch.full((8,), 2 * 2 * math.sin(math.pi / 8)))
    points = drawn(ring, 40_000)
    distances, mode = torch.cdist(points, centres).min(dim=1)
    torch.testing.assert_close(torch.bincount(mode) / 40_000, torch.full((8,), 1 / 8), atol=0.01, rtol=0)
    assert distances.square().mean().item() == pytest.approx(2 * 0.1**2, rel=0.03)  # two coordinates


def test_coverage_of_the_data_itself_is_whole() -> None:
    """Of a 2-D Gaussian, exp(-4^2 / 2) = 0.03% lie past four deviations."""
    found = coverage(drawn(Ring(1, 0.05), 20_000), Ring(1, 0.05))
    assert found.found == tuple(range(8))
    assert found.quality == pytest.approx(1 - math.exp(-8), abs=3e-4)


def test_coverage_counts_only_modes_with_a_tenth_of_their_share() -> None:
    """Of 800 samples a mode's share is 100: ten nearby are enough, nine are not, and none count from afar."""
    ring = Ring(1, 0.05)
    centres = ring.centres()
    edge = torch.tensor([[0.0, 0.199]])  # just within four deviations
    samples = torch.cat(
        [
            centres[2].expand(700, 2) + edge,
            centres[5].expand(10, 2),
            centres[6].expand(9, 2),
            centres[7].expand(81, 2) * 1.3,  # six deviations off
        ]
    )
    found = coverage(samples, ring)
    assert found.found == (2, 5)
    assert found.modes == 2
    assert found.quality == pytest.approx(719 / 800)


# --- what the losses do


@pytest.fixture(scope="module")
def even() -> dict[str, list[Trial]]:
    """Every loss from two seeds against a discriminator that keeps up, all trained at once."""
    return dict(zip(LOSSES, play(list(LOSSES.values()), EVEN, seeds=SEEDS), strict=True))


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_finds_the_modes_against_a_discriminator_that_keeps_up(
    name: str, even: dict[str, list[Trial]]
) -> None:
    """All eight. Clipping makes a critic coarse, and f-GAN's exponential makes KL jumpy: each may be between modes."""
    least = {"wgan": 7, "fgan-kl": 6}.get(name, 8)
    for trial in even[name]:
        assert trial.coverage.modes >= least
        assert trial.coverage.quality > (0.2 if least < 8 else 0.4)
        assert len(trial.history) == 20
        assert trial.coverage == coverage(trial.samples, EVEN.ring)


def test_the_generator_collapses_where_it_outruns_the_discriminator() -> None:
    for trials in play([LOSSES["minimax"], LOSSES["non-saturating"]], SLOW, seeds=SEEDS):
        assert all(trial.coverage.modes <= 4 for trial in trials)


def test_distant_modes_are_dropped_for_good_except_with_the_gradient_penalty() -> None:
    (dropped,), (whole,) = play([LOSSES["non-saturating"], LOSSES["wgan-gp"]], GAMES["sharp"])
    assert whole.coverage.modes >= 7
    assert dropped.coverage.modes < whole.coverage.modes


def test_towards_optimality_minimax_vanishes_and_the_others_do_not() -> None:
    """Arjovsky & Bottou 2017, theorem 2.4 and figure 2; generator held still, 300 steps of the discriminator."""
    names = ("minimax", "non-saturating", "wgan", "wgan-gp")
    measured = gradient_norms([LOSSES[name] for name in names], GAMES["sharp"], [1, 300])
    first, last = ({name: norms[k] for name, norms in zip(names, measured, strict=True)} for k in (0, 1))
    assert last["minimax"] < 1e-3 * first["minimax"]
    for name in ("non-saturating", "wgan", "wgan-gp"):
        assert last[name] > first[name]
    assert last["wgan"] < 0.1  # and where weights are clipped, it is small throughout


def test_a_trial_is_a_function_of_its_seed() -> None:
    game = replace(EVEN, steps=20)
    (trials,) = play([LOSSES["wgan-gp"]], game, seeds=(0, 0, 1), samples=50)
    once, again, other = (trial.samples for trial in trials)
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_a_trial_does_not_depend_on_what_is_trained_beside_it() -> None:
    """Alone, or among losses of which one clips its weights and one differentiates its critic twice."""
    game = replace(EVEN, steps=3)
    losses = [LOSSES[name] for name in ("wgan", "minimax", "wgan-gp")]
    for loss, (_, beside) in zip(losses, play(losses, game, seeds=(0, 1), samples=50), strict=True):
        ((alone,),) = play([loss], game, seeds=(1,), samples=50)
        torch.testing.assert_close(beside.samples, alone.samples, rtol=1e-3, atol=1e-4)


def test_a_member_that_blows_up_leaves_the_others_alone() -> None:
    """f-GAN's exponential overflows at such a rate."""
    wild = replace(EVEN, steps=20, d_rate=30.0, g_rate=0.0)
    (tame,), (burst,) = play([LOSSES["minimax"], LOSSES["fgan-kl"]], wild, samples=50)
    finite = [
        all(bool(torch.isfinite(parameter).all()) for parameter in trial.critic.parameters()) for trial in (tame, burst)
    ]
    assert finite == [True, False]


def test_weights_are_drawn_by_the_seed_too() -> None:
    game = replace(EVEN, steps=20, d_rate=0.0)  # a discriminator that stays as it was born
    (trials,) = play([LOSSES["hinge"]], game, seeds=SEEDS, samples=50)
    assert not torch.equal(*(trial.critic.state_dict()["0.weight"] for trial in trials))


def test_a_trial_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    play([LOSSES["hinge"]], replace(EVEN, steps=20), samples=50)
    assert torch.equal(before, torch.random.get_rng_state())


def test_clipped_weights_stay_in_their_box_and_the_others_are_free() -> None:
    (clipped,), (free,) = play([LOSSES["wgan"], LOSSES["hinge"]], replace(EVEN, steps=20), samples=50)
    largest = [
        max(parameter.abs().max().item() for parameter in trial.critic.parameters()) for trial in (clipped, free)
    ]
    assert largest[0] == pytest.approx(0.01)
    assert largest[1] > 0.1


def test_an_ensemble_is_its_networks() -> None:
    torch.manual_seed(0)
    networks = [multilayer(3, 7, 2) for _ in range(4)]
    ensemble, points = Ensemble(networks), torch.randn(4, 5, 3)
    each = torch.stack([network(own) for network, own in zip(networks, points, strict=True)])
    torch.testing.assert_close(ensemble(points), each)
    torch.testing.assert_close(ensemble.some(points[1:3], slice(1, 3)), each[1:3])
    torch.testing.assert_close(ensemble.member(2)(points[2]), each[2])
    ensemble(points).square().sum().backward()
    each.square().sum().backward()
    slope = ensemble.weights[1].grad
    assert slope is not None
    torch.testing.assert_close(slope, torch.stack([network[2].weight.grad for network in networks]))


# --- the command and its picture


def test_every_loss_has_its_own_colour() -> None:
    assert list(picture.COLOURS) == list(LOSSES)
    assert len(set(picture.COLOURS.values())) == len(LOSSES)


def test_the_command_draws_the_picture_and_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "ring.png"
    assert main(["ring", "--out", str(out), "--losses", "minimax", "wgan-gp", "--steps", "20", "--seed", "3"]) == 0
    with Image.open(out) as image:
        assert image.width > 1000
    assert list(tmp_path.iterdir()) == [out]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[-3:] == ["even", "slow", "sharp"]
    assert [line.split()[0] for line in lines[1:3]] == ["minimax", "wgan-gp"]
    assert lines[-1] == str(out)


def test_found_and_missed_modes_are_told_apart_by_colour(tmp_path: Path) -> None:
    """A trial that found two of eight modes has three times as much of the one colour as of the other."""
    game = GAMES["even"]
    network = multilayer(2, 8, 1)
    trial = Trial(LOSSES["minimax"], game, game.ring.centres(), network, (Coverage((0, 3), 0.5),))
    path = tmp_path / "picture.png"
    picture.draw(path, {"even": [trial], "sharp": [trial]}, {"minimax": [1.0, 0.5]}, [1, 2])
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)

    def area(colour: str) -> int:
        return int((pixels == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(axis=1).sum())

    assert area(picture.MISSED) == pytest.approx(3 * area(picture.COVERED), rel=0.3)
    assert area(picture.COVERED) > 20


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--out", "ring.jpg"], r"--out must end in \.png"),
        (["--out", "no/such/folder/ring.png"], "there is no folder"),
        (["--steps", "19"], "--steps must be 20 or more"),
        (["--seed", "-1"], "--seed must be in"),
    ],
)
def test_a_bad_flag_is_a_sentence(flags: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ring", *flags]) == 2
    with pytest.raises(InputError, match=says):
        raise InputError(capsys.readouterr().err)

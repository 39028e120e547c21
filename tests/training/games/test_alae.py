"""The autoencoder's game: the paper's three steps, written plainly, and what each of them moves."""

import copy
import math
from pathlib import Path

import pytest
import torch
from torch.nn.functional import softplus

import models
from models import InputError
from training import ALAERun, train
from training.engine.stage import Moment
from training.games.alae import ALAE
from training.games.alae_options import NETWORKS
from training.options.flags import from_dict, merged
from training.run.build import build, stage

PARTS = ("mapping", "generator", "encoder", "discriminator")


@pytest.fixture
def autoencoder(smallest, tmp_path):
    """A tiny ALAE run; keyword arguments are groups of options that differ."""

    def make(**changes: dict) -> ALAERun:
        base = merged(smallest("alae"), {"output": {"out": str(tmp_path / "run")}, "machine": {"precision": "fp32"}})
        return from_dict(ALAERun, merged(base, changes))

    return make


@pytest.fixture
def play(autoencoder):
    """The game of such a run, of the fully connected networks, and what it would see in its first step."""

    def make(**changes: dict):
        dense = {"network": {"network": "alae-mlp", "hidden": 12, "code_size": 6}, "data": {"image_size": 16}}
        run = autoencoder(**merged(dense, changes))
        game, _ = build(run, stage(run.machine, run.pace))
        moment = Moment(0, 0, 1000)
        game.g_mover.at(moment)
        game.d_mover.at(moment)
        draws = torch.Generator().manual_seed(1)
        real = torch.rand(4, 3, 16, 16, generator=draws) * 2 - 1
        latents = torch.randn(4, 8, generator=draws)
        return game, real, latents, game.judge.sight(0, moment)

    return make


def plainly(game: ALAE):
    """Copies of F, G, E and D."""
    return [copy.deepcopy(game.players.networks[name]) for name in PARTS]


def gradients(network):
    return [parameter.grad for parameter in network.parameters()]


def moved(game: ALAE, before) -> set[str]:
    """The networks of which a step has moved a weight."""
    return {
        name
        for name, old in zip(PARTS, before, strict=True)
        for new, parameter in zip(game.players.networks[name].parameters(), old.parameters(), strict=True)
        if not torch.equal(new, parameter)
    }


def same(ours, plain):
    for mine, theirs in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_step_one_teaches_encoder_and_discriminator(play):
    """softplus(D(E(G(F(z))))) + softplus(-D(E(x))) + gamma / 2 ||grad D(E(x))||^2, gamma 10."""
    game, real, latents, sight = play()
    before = plainly(game)
    f, g, e, d = copy.deepcopy(before)
    x = real.clone().requires_grad_(True)
    on_real, on_fake = d(e(x)), d(e(g(f(latents)).detach()))
    (slope,) = torch.autograd.grad(on_real.sum(), x, create_graph=True)
    adversarial = softplus(on_fake).mean() + softplus(-on_real).mean()
    (adversarial + 10 / 2 * slope.square().sum(dim=(1, 2, 3)).mean()).backward()

    verdict = game._tell_apart(real, latents, sight)
    torch.testing.assert_close(verdict.loss, adversarial)
    same(gradients(game.encoder) + gradients(game.discriminator), gradients(e) + gradients(d))
    assert moved(game, before) == {"encoder", "discriminator"}


def test_step_two_teaches_mapping_and_generator(play):
    """softplus(-D(E(G(F(z)))))"""
    game, real, latents, sight = play()
    before = plainly(game)
    f, g, e, d = copy.deepcopy(before)
    plain = softplus(-d(e(g(f(latents))))).mean()
    plain.backward()

    torch.testing.assert_close(game._deceive(real, latents, sight), plain)
    same(gradients(game.mapping) + gradients(game.generator), gradients(f) + gradients(g))
    assert moved(game, before) == {"mapping", "generator"}
    assert all(parameter.requires_grad for parameter in game.critic.parameters())


def test_step_three_teaches_encoder_and_generator(play):
    """||F(z) - E(G(F(z)))||^2 over the 6 components, with F(z) held fixed.

    Gradients that the other steps have left behind have no part in it.
    """
    game, real, latents, sight = play()
    game._tell_apart(real, latents, sight)
    game._deceive(real, latents, sight)
    before = plainly(game)
    f, g, e, _ = copy.deepcopy(before)
    for network in (g, e):
        network.zero_grad()
    codes = f(latents).detach()
    plain = ((codes - e(g(codes))) ** 2).sum(dim=1).mean() / 6
    plain.backward()

    torch.testing.assert_close(game._reciprocate(latents), plain)
    same(gradients(game.generator) + gradients(game.encoder), gradients(g) + gradients(e))
    assert moved(game, before) == {"encoder", "generator"}


def test_an_iteration_is_the_three_steps_in_their_order(play, monkeypatch):
    """Each on latents of its own."""
    game, *_ = play()
    seen = []

    def watch(name, latents_at):
        step = getattr(game, name)

        def watched(*inputs):
            seen.append((name, inputs[latents_at]))
            return step(*inputs)

        monkeypatch.setattr(game, name, watched)

    for name, latents_at in (("_tell_apart", 1), ("_deceive", 1), ("_reciprocate", 0)):
        watch(name, latents_at)
    told = game.step(Moment(0, 0, 1000)).scalars()
    assert [name for name, _ in seen] == ["_tell_apart", "_deceive", "_reciprocate"]
    assert len({float(latents.sum()) for _, latents in seen}) == 3
    assert {"loss_d", "loss_g", "reciprocity", "d_real", "d_fake"} <= told.keys()


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_plays_with_every_trick(autoencoder, stepped, tricks, network):
    run = autoencoder(network={"network": network, "hidden": 8}, game=tricks)
    game, told = stepped(run, steps=2)
    assert game.images_per_step == 2 * run.pace.batch
    assert all(math.isfinite(value) for scalars in told for value in scalars.values())
    assert {type(game.family.config)} == {NETWORKS[network]}


def test_scores_are_of_samples_of_reconstructions_and_of_codes(autoencoder, small):
    run = autoencoder(watch={"fid_kimg": 0.016, "fid_images": 10})
    model = models.load(train(run, extractor=small).checkpoint, models.Autoencoder)
    assert len(list(Path(run.output.out).glob("reference*.npz"))) == 1  # both are compared with the same images
    scores = model.metadata.metrics
    assert set(scores) == {"fid", "fid_reconstructions", "reciprocity"}
    codes = model.parts["mapping"](models.draw(models.sample_seeds(2**41, 1024), 8))
    missed = (codes - model.encode(model.decode(codes))).square().mean()
    assert scores["reciprocity"]["value"] == pytest.approx(float(missed), rel=1e-3)
    assert scores["reciprocity"]["share"] == pytest.approx(float(missed / codes.var(dim=0).mean()), rel=1e-3)


def test_a_run_begins_where_another_ended(autoencoder, tmp_path):
    """With a checkpoint's mapping, generator and encoder; with a folder's discriminator too."""
    first = autoencoder(output={"out": str(tmp_path / "first"), "name": "first"})
    ended = torch.load(Path(train(first).checkpoint).parent / "state.pt", weights_only=True)
    averages = models.load(tmp_path / "first" / "first.safetensors").parts
    for start, discriminator in (("first/first.safetensors", False), ("first", True)):
        run = autoencoder(network={"start": str(tmp_path / start)})
        networks = build(run, stage(run.machine, run.pace))[0].players.networks
        for name, part in averages.items():
            assert all(torch.equal(networks[name].state_dict()[key], one) for key, one in part.state_dict().items())
        old = ended["networks"]["discriminator"]
        new = networks["discriminator"].state_dict()
        assert all(torch.equal(new[key], one) for key, one in old.items()) is discriminator


def test_sizes_are_the_networks_own(autoencoder):
    """50 and 50 as the paper's MNIST experiment, 128 for pictures; what is said goes before."""
    dense = autoencoder(network={"network": "alae-mlp", "latent_size": 0})
    assert (dense.network.latent_size, dense.network.code_size) == (50, 50)
    conv = autoencoder(network={"latent_size": 9})
    assert (conv.network.network, conv.network.latent_size, conv.network.code_size) == ("alae-dcgan", 9, 128)


def test_defaults_are_the_papers(tmp_path):
    run = from_dict(ALAERun, {"data": {"data": "fake"}, "output": {"out": str(tmp_path)}})
    assert (run.game.loss, run.game.r1) == ("non-saturating", 10)
    assert (run.optimizer.beta1, run.optimizer.beta2) == (0, 0.99)
    assert (run.network.mapping_layers, run.network.discriminator_layers) == (6, 3)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network": {"network": "dcgan"}}, "--network must be one of alae-mlp, alae-dcgan"),
        ({"data": {"image_size": 48}}, "--image-size: image_size is one of 32, 64, 128"),
        ({"data": {"channels": 2}}, "--channels: channels is one of 1, 3"),
        ({"data": {"conditional": True}}, "--conditional is for dcgan"),
        ({"network": {"code_size": 5000}}, "--code-size: code_size is 1 to 4,096"),
        ({"network": {"mapping_layers": 40}}, "--mapping-layers: mapping_layers is 1 to 32"),
        ({"network": {"discriminator_layers": 40}}, "--discriminator-layers: layers is 1 to 32"),
        ({"network": {"width": 5000}}, "--width: width is 1 to 1,024"),
        ({"network": {"encoder_width": 5000}}, "--encoder-width: encoder_width is 1 to 1,024"),
        ({"network": {"network": "alae-mlp", "hidden": 9999}}, "--hidden: hidden is 1 to 8,192"),
        ({"network": {"network": "alae-mlp", "smooth": 9}}, "--smooth: smooth is 0 to 8, not 9"),
        ({"game": {"loss": "wgan"}}, "--loss must be one without clipping"),
        ({"game": {"perceptual": 1.0}}, "--perceptual is for dcgan and cyclegan"),
        ({"machine": {"compile": True}}, "--compile is not for alae"),
        ({"machine": {"graphs": True}}, "--graphs is not for alae"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(autoencoder, changes, sentence):
    with pytest.raises(InputError) as refused:
        autoencoder(**changes)
    assert sentence in refused.value.message

"""The sampler's game plays every network that has a discriminator, and its options are theirs."""

import dataclasses
import math

import pytest
import torch

import models
from models import InputError, filters_of
from models.networks.table import discriminators
from training import train
from training.games import sampler as family
from training.games.dcgan_options import NETWORKS
from training.objective.terms import orthogonal
from training.options.flags import merged
from training.run.build import build, stage


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_plays(sampler, stepped, network, conditional):
    """By its name alone: a network joins the table, and is one of these."""
    knows_classes = "classes" in {field.name for field in dataclasses.fields(NETWORKS[network])}
    changes = {"network": {"network": network, "hidden": 8}, "data": {"image_size": 32, "conditional": conditional}}
    if conditional and not knows_classes:
        with pytest.raises(InputError, match=f"--conditional does not go with --network {network}"):
            sampler(**changes)
        return
    game, told = stepped(sampler(**changes), steps=1)
    assert type(game.family.config) is NETWORKS[network]
    assert type(game.discriminator.config) is discriminators()[network]
    assert game.family.config.latent_size == 8
    assert all(math.isfinite(value) for value in told[0].values())
    game.family.refresh()
    assert game.family.picture().shape[2] == 3


def test_a_discriminator_of_another_network(sampler):
    run = sampler(network={"discriminator": "mlp", "discriminator_hidden": 8})
    game, _ = build(run, stage(run.machine, run.pace))
    assert type(game.generator.config) is NETWORKS["dcgan"]
    assert type(game.discriminator.config) is discriminators()["mlp"]
    assert run.network.discriminator_norm == "none"


def test_scores_draw_classes_as_often_as_the_data_has_them(sampler, tmp_path):
    """Of three images of one class and one of another, three of four that are compared are of the first."""
    from PIL import Image

    for name, count in (("cats", 3), ("dogs", 1)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (16, 16), (number * 60, 9, 9)).save(tmp_path / "data" / name / f"{number}.png")
    run = sampler(data={"data": str(tmp_path / "data"), "conditional": True})
    family = build(run, stage(run.machine, run.pace))[0].family
    seen = []
    generator = family.generator
    generator.register_forward_hook(lambda _, inputs, images: seen.append(inputs[1]))
    evaluation = family.evaluations()[""]
    assert sum(len(batch) for batch in evaluation.fakes(100)) == 100
    assert torch.bincount(torch.cat(seen)).tolist() == [75, 25]
    assert evaluation.about == {"classes": "as often as in the training data"}
    assert family.metadata().training["dataset_classes"] == [3, 1]


BIGGAN = {
    "data": {"image_size": 32, "conditional": True},
    "network": {"network": "biggan", "max_multiplier": 1, "class_embedding": 4, "attention": 16},
    "game": {"loss": "hinge", "d_steps": 2, "orthogonal": 1e-2},
    "pace": {"accumulate": 2},
}


def weights_of(game):
    networks = game.players.networks.items()
    return {f"{name}.{key}": value for name, one in networks for key, value in one.state_dict().items()}


@pytest.mark.parametrize("discriminator", ["mlp", "biggan"])
def test_a_batch_in_parts_is_the_batch(sampler, stepped, discriminator):
    """To rounding, where no batch norm looks at a part: with spectral norm in both, draws, and steps of each."""
    changes = {
        "data": {"image_size": 32, "flips": True},
        "network": {
            "network": "mlp",
            "hidden": 8,
            "discriminator": discriminator,
            "discriminator_hidden": 8,
            "generator_norm": "spectral",
        },
        "game": {
            "loss": "non-saturating",
            "d_steps": 2,
            "g_steps": 2,
            "label_noise": 0.3,
            "instance_noise": 0.1,
            "augment": "color,translation",
            "orthogonal": 1e-2,
        },
        "machine": {"precision": "fp32"},
    }
    whole, told = stepped(sampler(pace={"batch": 8}, **changes))
    parts, told_of_parts = stepped(sampler(pace={"batch": 8, "accumulate": 4}, **changes))
    begun, _ = stepped(sampler(pace={"batch": 8}, **changes), steps=0)
    before, found = weights_of(begun), weights_of(parts)
    for name, value in weights_of(whole).items():
        torch.testing.assert_close(found[name], value, atol=2e-5, rtol=1e-4, msg=name)
    assert max(float((value - before[name]).abs().max()) for name, value in found.items()) > 2e-4
    for one, other in zip(told, told_of_parts, strict=True):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-5)


def test_orthogonal_regularisation_turns_filters_apart(sampler, stepped):
    """A generator that has hardly another reason to move ends with a fraction of the term."""
    found = []
    for weight in (0.0, 1e4):
        run = sampler(optimizer={"g_lr": 1e-3}, game={"orthogonal": weight}, pace={"batch": 2})
        found.append(orthogonal(filters_of(stepped(run, steps=4)[0].generator)).item())
    assert found[1] < 0.1 * found[0]


def test_a_biggans_checkpoint_is_its_average_with_all_norms_settled(sampler, monkeypatch):
    """Spectral norm is in its weights, batch norm's statistics are those of fresh latents; and a run can begin with
    it."""
    monkeypatch.setattr(family, "STANDING_BATCHES", 2)
    run = sampler(**merged(BIGGAN, {"pace": {"kimg": 0.016, "sample_kimg": 1.0, "snapshot_kimg": 1.0}}))
    assert (run.network.generator_norm, run.network.discriminator_norm) == ("spectral", "spectral")
    checkpoint = train(run).checkpoint
    generator = models.load(checkpoint, models.Generator).parts["generator"]
    for weight in filters_of(generator):
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.03)
    inputs = [
        (models.draw(range(start, start + 64), 8), torch.arange(64) % generator.config.classes)
        for start in (family.STANDING_SEED, family.STANDING_SEED + 64)
    ]
    seen = []
    generator.norm.register_forward_pre_hook(lambda _, maps: seen.append(maps[0]))
    drawn = [generator(*one) for one in inputs]
    means = torch.cat(seen).mean(dim=(0, 2, 3))
    torch.testing.assert_close(generator.norm.running_mean, means, atol=0.05, rtol=0.1)
    started, _ = build(run.changed(network={"start": checkpoint}), stage(run.machine, run.pace))
    torch.testing.assert_close(started.average.module(*inputs[0]), drawn[0], atol=5e-3, rtol=0)

"""The sampler's game plays every network that has a discriminator, and its options are theirs."""

import dataclasses
import math

import pytest
import torch

from models import InputError
from models.networks.table import discriminators
from training.games.dcgan_options import NETWORKS
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

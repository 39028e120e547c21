"""The family of autoencoders: it draws by way of codes, and shows images drawn again."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

import models
from training.engine.ema import Average
from training.engine.schedules import constant
from training.games.autoencoder import Autoencoder
from training.games.sampler import read_images
from training.run.build import stage


@dataclass(frozen=True)
class Config:
    """As an architecture with the face `models.Autoencoder` has it: codes are images, flat."""

    image_size: int = 16
    channels: int = 3
    latent_size: int = 4
    code_size: int = 768
    classes: int = 0


class Unflat(nn.Module):
    def forward(self, codes, classes=None):
        return codes.unflatten(1, (3, 16, 16))


def made(run):
    torch.manual_seed(0)
    parts = {
        "mapping": nn.Sequential(nn.Linear(4, 768), nn.Tanh()),
        "generator": Unflat(),
        "encoder": nn.Flatten(),
    }
    averages = {name: Average(part, constant(0.0)) for name, part in parts.items()}
    return Autoencoder(run, read_images(run, aloud=False), stage(run.machine, run.pace), Config(), averages)


def test_samples_go_by_way_of_codes(sampler):
    family = made(sampler())
    assert set(family.weights()) == set(models.Autoencoder.PARTS)
    latents = models.draw([7], 4)
    expected = family.weights()["mapping"](latents).unflatten(1, (3, 16, 16))
    assert torch.equal(family.generator(latents), expected)
    (batch,) = family.evaluations()[""].fakes(3)
    assert batch.shape == (3, 16, 16, 3)


def test_the_picture_shows_images_and_below_each_what_its_code_gives(sampler):
    """Whose codes are the images themselves draws them as they are."""
    family = made(sampler())
    family.refresh()
    sheet = family.picture()
    row = sheet.shape[0] - 4 * (16 + 4)  # four rows of images with their frames
    above = models.grid(family._samples(0, 64), columns=8)
    assert np.array_equal(sheet[: above.shape[0]], above)
    shown = sheet[above.shape[0] :].reshape(4, -1, *sheet.shape[1:])
    assert row == above.shape[0]
    for images, again in ((shown[0], shown[1]), (shown[2], shown[3])):
        assert np.abs(images.astype(int) - again).max() <= 1
        assert images.max() > 0

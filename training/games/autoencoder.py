"""The family of autoencoders: samplers that also find the code of an image, and show it drawn again."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from models import AutoencoderConfig, grid, to_float, to_uint8
from models.images import Pixels
from training.data.images import Dataset, indices
from training.engine.ema import Average
from training.engine.stage import Stage
from training.games.sampler import Sampler, SamplerRun

AGAIN = 16  # images of the data on a picture, each above what its code gives


class Autoencoder(Sampler):
    """A mapping of latents to codes, a generator of images from codes, an encoder of images to codes.

    Args:
        averages: "mapping", "generator" and "encoder", the parts of `models.Autoencoder`.
    """

    config: AutoencoderConfig

    def __init__(
        self, run: SamplerRun, data: Dataset, stage: Stage, config: AutoencoderConfig, averages: Mapping[str, Average]
    ) -> None:
        super().__init__(run, data, stage, config, averages)
        self.drawing = Drawing(averages["mapping"].module, averages["generator"].module)

    @property
    def generator(self) -> nn.Module:
        """What draws: latents (and classes) to images, by way of codes."""
        return self.drawing

    def picture(self) -> Pixels:
        """The samples of a sampler; below them, in pairs of rows, images of the data and what their codes give."""
        count = min(AGAIN, len(self.data))
        images = self.data.pixels[indices(self.run.pace.seed, 0, count, len(self.data))].numpy()
        again = self.again(to_float(images).to(self.stage.device))
        rows = [
            row
            for start in range(0, count, 8)
            for row in (images[start : start + 8], to_uint8(again[start : start + 8]))
        ]
        return np.concatenate([super().picture(), *(grid(_eight(row), columns=8) for row in rows)])

    def again(self, images: Tensor) -> Tensor:
        """Images [n, c, s, s] in [-1, 1], drawn again from their codes."""
        with torch.no_grad():
            drawn: Tensor = self.averages["generator"].module(self.averages["encoder"].module(images), None)
            return drawn


class Drawing(nn.Module):
    """G after F: latents (and classes) to images, by way of codes."""

    def __init__(self, mapping: nn.Module, generator: nn.Module) -> None:
        super().__init__()
        self.mapping, self.generator = mapping, generator

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        images: Tensor = self.generator(self.mapping(latents), classes)
        return images


def _eight(images: Pixels) -> Pixels:
    """A row of eight images, the last of them black where there are fewer."""
    return np.concatenate([images, np.zeros((8 - len(images), *images.shape[1:]), np.uint8)])

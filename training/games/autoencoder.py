"""The family of autoencoders: samplers that also find the code of an image, and show it drawn again."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models import AutoencoderConfig, draw, grid, sample_seeds, to_float, to_uint8
from models.images import Pixels
from training.data.images import Dataset, indices, spread
from training.engine.ema import Average
from training.engine.stage import Stage
from training.games.family import Evaluation
from training.games.sampler import FID_SEED, SHEET, Sampler, SamplerRun
from training.objective.terms import reciprocity

AGAIN = 16  # images of the data on a picture, each above what its code gives
RECIPROCAL = 1024  # latents whose codes are looked for in their images


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

    def evaluations(self) -> dict[str, Evaluation]:
        """That of samples; and `reconstructions`, images of the data drawn again from their codes."""
        samples = super().evaluations()
        about = {"images": "of the training data, evenly spaced, drawn again from their codes"}
        return samples | {"reconstructions": Evaluation(self._reconstructions, samples[""].reference, about)}

    def own_scores(self) -> dict[str, dict[str, Any]]:
        """`reciprocity`: how far the encoder misses latents' codes, per component, and as a share of their variance."""
        latents = draw(sample_seeds(FID_SEED, RECIPROCAL), self.config.latent_size).to(self.stage.device)
        parts = {name: average.module for name, average in self.averages.items()}
        with torch.no_grad():
            codes = parts["mapping"](latents)
            found = torch.cat([parts["encoder"](parts["generator"](few, None)) for few in codes.split(SHEET)])
        missed = float(reciprocity(code=codes, found=found))
        share = missed / max(float(codes.var(dim=0).mean()), 1e-12)
        protocol = "mean square of E(G(w)) - w, over the codes w of latents"
        return {"reciprocity": {"value": missed, "share": share, "codes": RECIPROCAL, "protocol": protocol}}

    def again(self, images: Tensor) -> Tensor:
        """Images [n, c, s, s] in [-1, 1], drawn again from their codes."""
        with torch.no_grad():
            drawn: Tensor = self.averages["generator"].module(self.averages["encoder"].module(images), None)
            return drawn

    def _reconstructions(self, count: int) -> Iterator[Pixels]:
        """Images of the data drawn again; all of them where fewer are there."""
        pixels = self.data.pixels
        count = min(count, len(pixels))
        for places in spread(count, len(pixels)).split(SHEET):
            yield to_uint8(self.again(to_float(pixels[places].numpy()).to(self.stage.device)))


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

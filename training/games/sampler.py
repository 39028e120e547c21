"""The family of samplers: what any game of latents to images is told, learns from, shows, scores and saves."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from models import (
    Metadata,
    SamplerConfig,
    draw,
    grid,
    metadata_of,
    sample_seeds,
    settle_spectral_norm,
    to_float,
    to_uint8,
)
from models.images import Pixels
from training.data.images import Dataset, Keep, indices, load_images, spread
from training.engine.ema import Average, standing_statistics
from training.engine.stage import Stage
from training.games.family import Evaluation, told, variety
from training.options.run import Run
from training.options.shared import Data, Watch

SHEET = 64  # samples on a picture
STANDING_BATCHES = 16  # of SHEET latents each, to measure batch norm's statistics
STANDING_SEED, FID_SEED = 2**40, 2**41  # latents far away from the picture's


class SamplerData(Data):
    """Data."""

    data: str = Field(
        "", description="folder, .zip, or `fake`: MNIST, CIFAR-10, one folder per class, or a flat folder"
    )
    image_size: int = Field(
        64, description="side in pixels; images are scaled by their shorter side and cut at the centre"
    )
    channels: int = Field(3, description="3 for colour, 1 for grey")
    flips: bool = Field(False, description="mirror half of the images; off, since digits and text have a handedness")
    conditional: bool = Field(
        False, description="learn one class per label (class embedding, projection discriminator)"
    )


class SamplerWatch(Watch):
    """What is measured and shown on the way."""

    fid_reference: str = Field(
        "", description="statistics .npz, folder or archive to compare with; default: the training data"
    )


class SamplerRun(Run):
    """What the runs of all samplers have."""

    data: SamplerData = SamplerData()
    watch: SamplerWatch = SamplerWatch()


def read_images(run: SamplerRun, *, aloud: bool) -> Dataset:
    """The images of a run (`training.games.game.Game.read`)."""
    data = run.data
    keep = Keep(data.skip_broken, data.packed)
    found = load_images(data.data, data.image_size, data.channels, conditional=data.conditional, keep=keep)
    return told(found, aloud=aloud)


def latents_of(stage: Stage, batch_size: int, latent_size: int, draws: torch.Generator) -> Tensor:
    """This process's share of a batch that all draw alike, so that many processes learn from what one would."""
    latents = torch.randn(batch_size, latent_size, generator=draws)
    return latents[stage.share(batch_size)].to(stage.device)


class Sampler:
    """A generator of images from latents (`training.games.game.Family`).

    Args:
        config: the generator's architecture.
        averages: the averaged networks, by the checkpoint's names for its parts.
    """

    def __init__(
        self, run: SamplerRun, data: Dataset, stage: Stage, config: SamplerConfig, averages: Mapping[str, Average]
    ) -> None:
        self.run, self.data, self.stage, self.config, self.averages = run, data, stage, config, averages

    @property
    def generator(self) -> nn.Module:
        """What draws: latents (and classes) to images."""
        return self.averages["generator"].module

    def refresh(self) -> None:
        """Spectral norm and batch norm's statistics are measured anew, for the averaged weights."""
        settle_spectral_norm(self.generator)
        batches = [self._inputs(STANDING_SEED + SHEET * number, SHEET) for number in range(STANDING_BATCHES)]
        standing_statistics(self.generator, batches)

    def picture(self) -> Pixels:
        """The first samples of the run's seed, classes in turn."""
        return grid(self._samples(self.run.pace.seed, SHEET), columns=8)

    def variety(self) -> float | None:
        """Of `SHEET` samples, over that of as many images."""
        with torch.no_grad():
            fake = self.generator(*self._inputs(self.run.pace.seed, SHEET))
        chosen = indices(self.run.pace.seed, 0, SHEET, len(self.data))
        return variety(fake, to_float(self.data.pixels[chosen].numpy()))

    def evaluations(self) -> dict[str, Evaluation]:
        """One: of samples, against the training data or the reference that was named."""
        reference = self.run.watch.fid_reference or self.data.pixels
        about = {"classes": "as often as in the training data"} if self.data.classes else {}
        return {"": Evaluation(self._batches, reference, about)}

    def own_scores(self) -> dict[str, dict[str, Any]]:
        """None."""
        return {}

    def weights(self) -> dict[str, nn.Module]:
        """The averaged networks."""
        return {name: average.module for name, average in self.averages.items()}

    def metadata(self) -> Metadata:
        """Architecture, classes, and what was learned from."""
        data = self.data
        about: dict[str, Any] = {
            "dataset": data.name,
            "dataset_images": len(data),
            "dataset_digest": data.digest,
        }
        if data.labels is not None:
            about["dataset_classes"] = torch.bincount(data.labels, minlength=len(data.classes)).tolist()
        return metadata_of(
            self.config,
            classes=data.classes or None,
            training=about,
        )

    def _batches(self, count: int) -> Iterator[Pixels]:
        """Samples to score. Their classes are as frequent as the data's, whose images they are compared with."""
        drawn = None
        if self.data.labels is not None:
            drawn = self.data.labels.sort().values[spread(count, len(self.data))]
        for start in range(0, count, SHEET):
            n = min(SHEET, count - start)
            yield self._samples(FID_SEED + start, n, None if drawn is None else drawn[start : start + n])

    def _samples(self, seed: int, count: int, classes: Tensor | None = None) -> Pixels:
        with torch.no_grad():
            return to_uint8(self.generator(*self._inputs(seed, count, classes)))

    def _inputs(self, seed: int, count: int, classes: Tensor | None = None) -> tuple[Tensor, ...]:
        """Latents, and classes where the run has them (by default in turn), as the generator takes them."""
        device = self.stage.device
        latents = draw(sample_seeds(seed, count), self.config.latent_size).to(device)
        if not self.data.classes:
            return (latents,)
        if classes is None:
            classes = torch.arange(count) % len(self.data.classes)
        return latents, classes.to(device)

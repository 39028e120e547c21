"""The family of translators: what any game of photos to photos is told, learns from, shows, scores and saves."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from models import Metadata, TranslatorConfig, grid, metadata_of, to_float, to_uint8
from models.images import Pixels
from training.data.images import Dataset, Keep, load_domain
from training.engine.ema import Average
from training.engine.stage import Stage
from training.games.family import Evaluation, told, variety
from training.options.base import require
from training.options.run import Run
from training.options.shared import Data, Watch

SHEET = 4  # photos of each domain on a picture
CROWD = 16  # photos for the measure of variety


class TranslatorData(Data):
    """Data."""

    data: str = Field(
        "", description="folder or .zip with trainA and trainB (testA, testB are used when present), or `fake`"
    )
    image_size: int = Field(256, description="side in pixels of the training crop; a multiple of 4")
    load_size: int = Field(
        0, description="side that images are scaled to before the crop; 0: 286/256 of image_size, as CycleGAN's paper"
    )
    flips: bool = Field(True, description="mirror half of the images, as CycleGAN's paper")
    domain_a: str = Field("", description="name of domain A; taken from a folder named like horse2zebra, else `a`")
    domain_b: str = Field("", description="name of domain B")


class TranslatorWatch(Watch):
    """What is measured and shown on the way."""

    fid_reference_a: str = Field(
        "",
        description="statistics .npz, folder or archive of domain A, to compare B to A with; default: its test photos",
    )
    fid_reference_b: str = Field("", description="the same of domain B, to compare A to B with")


class TranslatorRun(Run):
    """What the runs of all translators have."""

    data: TranslatorData = TranslatorData()
    watch: TranslatorWatch = TranslatorWatch()

    @property
    def load_size(self) -> int:
        """The side that training photos are scaled to."""
        return self.data.load_size or round(self.data.image_size * 286 / 256)

    def check_sizes(self) -> None:
        """Raises InputError where crops of this size cannot be made."""
        size, load = self.data.image_size, self.data.load_size
        require(size >= 32 and size % 4 == 0, "image_size", "must be a multiple of 4, 32 or more", size)
        require(load == 0 or load >= size, "load_size", "must be 0, or image_size or more", load)


@dataclasses.dataclass(frozen=True)
class Domains:
    """Photos of both domains to learn from, and to look at on the way (the test photos, where there are any)."""

    train_a: Dataset
    train_b: Dataset
    test_a: Dataset
    test_b: Dataset

    @property
    def digest(self) -> str:
        """Half of each domain's."""
        return self.train_a.digest[:32] + self.train_b.digest[:32]

    @property
    def nbytes(self) -> int:
        """Of all four sets."""
        return sum(data.nbytes for data in (self.train_a, self.train_b, self.test_a, self.test_b))


def read_domains(run: TranslatorRun, *, aloud: bool) -> Domains:
    """Training photos at the load size, to be cropped; test photos at the size they are looked at."""

    def load(domain: str, size: int) -> Dataset | None:
        found = load_domain(run.data.data, domain, size, Keep(run.data.skip_broken, run.data.packed))
        return told(found, aloud=aloud) if found else None

    train_a, train_b = load("trainA", run.load_size), load("trainB", run.load_size)
    assert train_a is not None  # load_domain refuses a missing training domain
    assert train_b is not None
    size = run.data.image_size
    # without test photos, training photos are looked at instead
    test_a = load("testA", size) or load("trainA", size) or train_a
    test_b = load("testB", size) or load("trainB", size) or train_b
    return Domains(train_a, train_b, test_a, test_b)


def domain_names(run: TranslatorRun, dataset: str) -> tuple[str, str]:
    """As configured, else from a name like horse2zebra, else a and b."""
    parts = re.fullmatch(r"([A-Za-z_]+)2([A-Za-z_]+)", dataset)
    first, second = parts.groups() if parts else ("a", "b")
    return run.data.domain_a or first, run.data.domain_b or second


class Translator:
    """Generators of one direction or both (`training.games.game.Family`).

    Args:
        config: the generators' architecture.
        averages: the averaged generators: "a_to_b", "b_to_a" or both.
    """

    def __init__(
        self,
        run: TranslatorRun,
        data: Domains,
        stage: Stage,
        config: TranslatorConfig,
        averages: Mapping[str, Average],
    ) -> None:
        self.run, self.data, self.stage, self.config, self.averages = run, data, stage, config, averages

    def refresh(self) -> None:
        """Nothing to do: instance norm keeps no statistics."""

    def picture(self) -> Pixels:
        """Rows of photo, translation and, with both directions, round trip: A to B on the left, B to A on the right."""
        columns = []
        for direction in self.averages:
            images = _first(self._source(direction), SHEET).to(self.stage.device)
            back = self.averages.get("b_to_a" if direction == "a_to_b" else "a_to_b")
            with torch.no_grad():
                fake = self.averages[direction].module(images)
                columns += [to_uint8(images), to_uint8(fake)]
                if back:
                    columns.append(to_uint8(back.module(fake)))
        return grid(np.stack(columns, axis=1).reshape(-1, *columns[0].shape[1:]), columns=len(columns))

    def variety(self) -> float | None:
        """The smaller of both directions, of photos cropped to what the generators learn from."""
        size, ratios = self.run.data.image_size, []
        for direction in self.averages:
            source, target = self._training(direction)
            photos, wanted = (_first(domain, CROWD)[..., :size, :size] for domain in (source, target))
            with torch.no_grad():
                fake = self.averages[direction].module(photos.to(self.stage.device))
            ratios.append(variety(fake, wanted))
        known = [ratio for ratio in ratios if ratio is not None]
        return min(known) if known else None

    def evaluations(self) -> dict[str, Evaluation]:
        """One of each direction: translated test photos, against the other domain's or the reference that was named."""
        watch = self.run.watch
        references: dict[str, Tensor | str] = {
            "a_to_b": watch.fid_reference_b or self.data.test_b.pixels,
            "b_to_a": watch.fid_reference_a or self.data.test_a.pixels,
        }
        return {name: Evaluation(self._translations(name), references[name]) for name in self.averages}

    def _translations(self, direction: str) -> Callable[[int], Iterator[Pixels]]:
        photos = self._source(direction)

        def batches(count: int) -> Iterator[Pixels]:
            for start in range(0, min(count, len(photos)), SHEET):
                images = to_float(photos.pixels[start : start + SHEET].numpy()).to(self.stage.device)
                with torch.no_grad():
                    yield to_uint8(self.averages[direction].module(images))

        return batches

    def _source(self, direction: str) -> Dataset:
        """The photos to look at that a direction translates."""
        return self.data.test_a if direction == "a_to_b" else self.data.test_b

    def _training(self, direction: str) -> tuple[Dataset, Dataset]:
        """A direction's source and target, to learn from."""
        both = self.data.train_a, self.data.train_b
        return both if direction == "a_to_b" else both[::-1]

    def own_scores(self) -> dict[str, dict[str, Any]]:
        """None."""
        return {}

    def weights(self) -> dict[str, nn.Module]:
        """The averaged generators."""
        return {name: average.module for name, average in self.averages.items()}

    def metadata(self) -> Metadata:
        """Architecture, domains, and what was learned from."""
        train_a, train_b = self.data.train_a, self.data.train_b
        return metadata_of(
            self.config,
            domains=domain_names(self.run, train_a.name),
            training={
                "dataset": train_a.name,
                "dataset_images": [len(train_a), len(train_b)],
                "dataset_digest": self.data.digest,
            },
        )


def _first(data: Dataset, count: int) -> Tensor:
    """The first photos of a data set: float32 [n, c, s, s]."""
    return to_float(data.pixels[:count].numpy())

"""What `models.load` gives: a network behind one of four faces, ready to be called.

    Generator      latents -> images
    Autoencoder    a generator that also finds the code of an image: latents -> codes -> images, images -> codes
    Translator     images -> images of another domain, in one direction or both
    Classifier     images -> classes, and the features that tell them apart (`models/classifier.py`)

A generator draws from two spaces at most. Latents, the space z, are normal vectors: what a seed stands for. Codes, the
space w of an autoencoder, lie between its mapping and its generator, and are what its encoder gives. The last of
`spaces` is a generator's home: there an image has its place, and there directions are added. A generator without an
encoder is at home in z.

A face says which parts a checkpoint of it holds, and what it needs to know of an architecture
(`models/architectures.py`). Which architecture has which face stands in the table, `models/networks/table.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

import torch
from torch import nn

from models.architectures import Architecture, AutoencoderConfig, SamplerConfig, TranslatorConfig
from models.errors import CheckpointError, InputError
from models.metadata import Metadata

Direction = Literal["a_to_b", "b_to_a"]
Space = Literal["z", "w"]

DIRECTIONS = "directions"
"""The name under which a checkpoint holds latent directions, beside its networks."""
_DIRECTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Model:
    """What every face has. A question that does not apply to a face is answered by None or ().

    Attributes:
        parts: the networks in eval mode, under the names by which `models.save` takes them.
        config: their architecture.  metadata: the checkpoint's own words.  digest: SHA-256 of the checkpoint file.
    """

    PARTS: ClassVar[tuple[str, ...]]  # that a checkpoint holds
    DOES: ClassVar[str]  # "a model that ..."

    parts: dict[str, nn.Module]
    config: Architecture
    metadata: Metadata
    digest: str

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return self.config.channels

    @property
    def image_size(self) -> int | None:
        """Height and width of an image, in pixels; None: any."""
        return None

    @property
    def latent_size(self) -> int | None:
        """Components of a latent."""
        return None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return ()

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of a and b."""
        return ()

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions that the checkpoint holds: "a_to_b", "b_to_a" or both."""
        return ()

    @property
    def attends(self) -> bool:
        """Whether it has a mask of what it changes."""
        return False

    def check(self, name: str) -> None:
        """Raises CheckpointError where the metadata does not fit; `name` is what to call the file."""
        raise NotImplementedError

    def check_class_names(self, needed: int, name: str) -> None:
        """Raises CheckpointError for domains, or for another number of class names than is needed."""
        if self.metadata.domains is not None:
            raise CheckpointError(f"{name}: only translators have domains.")
        given = len(self.classes)
        if given != needed:
            raise CheckpointError(f"{name}: {needed} class names are needed, {given} are given.")

    def check_parts(self, parts: set[str], name: str) -> None:
        """Raises CheckpointError unless these are the parts of a checkpoint of this face."""
        if parts != set(self.PARTS):
            raise CheckpointError(
                f"{name}: a {self.metadata.kind} checkpoint holds {' and '.join(self.PARTS)}, not {sorted(parts)}."
            )

    def to(self, device: str | torch.device) -> Self:
        """Moves the weights to `device`, in place."""
        for part in self.parts.values():
            part.to(device)
        return self


@dataclass(frozen=True)
class Generator(Model):
    """Draws images from latents.

    Attributes:
        latent_directions: name -> float32 [size of `home`], what to add to a point there to change one thing about its
            image; once is one standard deviation of what is drawn.
    """

    PARTS: ClassVar[tuple[str, ...]] = ("generator",)
    DOES = "draws images from latents"

    config: SamplerConfig
    latent_directions: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def spaces(self) -> tuple[Space, ...]:
        """The spaces whose points can be drawn."""
        return ("z",)

    @property
    def home(self) -> Space:
        """The space in which an image has its place, and in which directions are added."""
        return self.spaces[-1]

    def size_of(self, space: Space) -> int:
        """Components of a point of one of the `spaces`."""
        return self.config.latent_size

    @property
    def image_size(self) -> int:
        return self.config.image_size

    @property
    def latent_size(self) -> int:
        return self.config.latent_size

    @property
    def classes(self) -> tuple[str, ...]:
        return self.metadata.classes or ()

    def check(self, name: str) -> None:
        self.check_class_names(self.config.classes, name)

    def check_parts(self, parts: set[str], name: str) -> None:
        """Directions may stand beside the networks."""
        super().check_parts(parts - {DIRECTIONS}, name)

    def check_directions(self, name: str) -> None:
        """Raises CheckpointError for a direction with an odd name, or that is no point of `home`."""
        size = self.size_of(self.home)
        for one, vector in self.latent_directions.items():
            if _DIRECTION.fullmatch(one) is None or list(vector.shape) != [size]:
                raise CheckpointError(f"{name}: {DIRECTIONS}.{one[:80]} is no direction of {size} numbers with a name.")

    def draw(self, points: torch.Tensor, space: Space, classes: torch.Tensor | None = None) -> torch.Tensor:
        """Points [n, size] of one of the `spaces` -> images, without the checks of a call; `classes` as `forward`."""
        return self.forward(points, classes)

    def forward(self, latents: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        """As a call, without its checks; `classes` may also be float [n, classes], weights that mix the classes."""
        return self.parts["generator"](latents, classes)

    @torch.inference_mode()
    def __call__(self, latents: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        """Latents float32 [n, latent] (and classes int64 [n]) -> images float32 [n, c, s, s] in [-1, 1].

        Raises:
            InputError: a wrong shape, a latent that is not finite, a class out of range, missing or not wanted.
        """
        _check_rows("Latents", latents, self.latent_size)
        if self.classes:
            if classes is None or classes.shape != latents.shape[:1]:
                raise InputError("This model is class-conditional: give one class for each latent.", where="class")
            if bool(((classes < 0) | (classes >= len(self.classes))).any()):
                raise InputError(f"A class is a number from 0 to {len(self.classes) - 1}.", where="class")
        elif classes is not None:
            raise InputError("This model has no classes: leave the class out.", where="class")
        return self.forward(latents, classes)


@dataclass(frozen=True)
class Autoencoder(Generator):
    """Draws images from latents by way of codes, and finds the code of an image."""

    PARTS = ("mapping", "generator", "encoder")
    DOES = "draws images from latents and finds the codes of images"

    config: AutoencoderConfig

    @property
    def spaces(self) -> tuple[Space, ...]:
        return ("z", "w")

    def size_of(self, space: Space) -> int:
        return self.config.latent_size if space == "z" else self.config.code_size

    def draw(self, points: torch.Tensor, space: Space, classes: torch.Tensor | None = None) -> torch.Tensor:
        return self.forward(points, classes) if space == "z" else self.parts["generator"](points, classes)

    def forward(self, latents: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        return self.parts["generator"](self.parts["mapping"](latents), classes)

    @torch.inference_mode()
    def map(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents float32 [n, latent] -> their codes float32 [n, code].

        Raises:
            InputError: a wrong shape, or a latent that is not finite.
        """
        _check_rows("Latents", latents, self.latent_size)
        return self.parts["mapping"](latents)

    @torch.inference_mode()
    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Images float32 [n, c, s, s] in [-1, 1] -> their codes float32 [n, code].

        Raises:
            InputError: a wrong shape.
        """
        check_images(images, self.channels, self.image_size)
        return self.parts["encoder"](images)

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes float32 [n, code] -> images float32 [n, c, s, s] in [-1, 1].

        Raises:
            InputError: a wrong shape, or a code that is not finite.
        """
        _check_rows("Codes", codes, self.config.code_size)
        return self.parts["generator"](codes, None)


@dataclass(frozen=True)
class Translator(Model):
    """Translates images between two domains, such as horse (a) and zebra (b)."""

    PARTS = ("a_to_b", "b_to_a")
    DOES = "translates images from one domain to another"

    config: TranslatorConfig

    @property
    def domains(self) -> tuple[str, ...]:
        return self.metadata.domains or ()

    @property
    def directions(self) -> tuple[Direction, ...]:
        return tuple("a_to_b" if part == "a_to_b" else "b_to_a" for part in self.parts)

    @property
    def ends(self) -> dict[str, Direction]:
        """The domains that photos can become, and the direction that ends in each."""
        a, b = self.domains
        ends: dict[str, Direction] = {b: "a_to_b", a: "b_to_a"}
        return {domain: direction for domain, direction in ends.items() if direction in self.directions}

    @property
    def stride(self) -> int:
        """Sides of an image must be multiples of this, in pixels (see `models.pad_to_stride`)."""
        return self.config.stride

    @property
    def minimum_size(self) -> int:
        """Sides of an image must be at least this, in pixels."""
        return self.config.minimum_size

    @property
    def attends(self) -> bool:
        return self.config.attends

    def check(self, name: str) -> None:
        if len(self.domains) != 2:
            raise CheckpointError(f'{name}: a translator needs two domain names, such as ["horse", "zebra"].')

    def check_parts(self, parts: set[str], name: str) -> None:
        """One direction is enough."""
        super().check_parts(parts | set(self.PARTS) if parts else parts, name)

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor, direction: Direction) -> torch.Tensor:
        """Images float32 [n, c, h, w] in [-1, 1] -> images of the other domain, the same shape and range.

        Raises:
            InputError: an unknown direction, or a shape that the network cannot take.
        """
        if direction not in self.parts:
            raise InputError(f"direction is {' or '.join(self.directions)}, not {direction!r}.", where="direction")
        if images.ndim != 4 or images.shape[1] != self.channels:
            raise InputError(f"Images must be [n, {self.channels}, h, w], not {list(images.shape)}.")
        if any(side % self.stride or side < self.minimum_size for side in images.shape[2:]):
            raise InputError(
                f"Sides must be multiples of {self.stride} and at least {self.minimum_size}, "
                f"not {list(images.shape[2:])}: see models.pad_to_stride."
            )
        return self.parts[direction](images)


def check_images(images: torch.Tensor, channels: int, size: int) -> None:
    """Raises InputError unless images are [n, channels, size, size]."""
    shape = [channels, size, size]
    if list(images.shape[1:]) != shape:
        raise InputError(f"Images must be [n, {', '.join(map(str, shape))}], not {list(images.shape)}.")


def _check_rows(what: str, rows: torch.Tensor, size: int) -> None:
    if rows.ndim != 2 or rows.shape[1] != size:
        raise InputError(f"{what} must be [n, {size}], not {list(rows.shape)}.", where=what.lower())
    if not bool(torch.isfinite(rows).all()):
        raise InputError(f"{what} must be finite numbers: no NaN, no infinity.", where=what.lower())

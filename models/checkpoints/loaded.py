"""What `models.load` gives: a generator or a translator, ready to be called."""

from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import nn

from models.checkpoints.metadata import Metadata
from models.errors import InputError
from models.networks.architectures import SamplerConfig
from models.networks.cyclegan import ResNetConfig

Direction = Literal["a_to_b", "b_to_a"]


@dataclass(frozen=True)
class Generator:
    """Draws images from latents.

    Attributes:
        module: the network, in eval mode.  config: its architecture.  classes: class names, or ().
        metadata: the checkpoint's own words.  digest: SHA-256 of the checkpoint file.
    """

    module: nn.Module
    config: SamplerConfig
    classes: tuple[str, ...]
    metadata: Metadata
    digest: str

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The networks under the names by which `models.save` takes them."""
        return {"generator": self.module}

    @property
    def latent_size(self) -> int:
        """Components of a latent."""
        return self.config.latent_size

    @property
    def image_size(self) -> int:
        """Height and width of an image, in pixels."""
        return self.config.image_size

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return self.config.channels

    def to(self, device: str | torch.device) -> Self:
        """Moves the weights to `device`, in place."""
        self.module.to(device)
        return self

    @torch.inference_mode()
    def __call__(self, latents: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        """Latents float32 [n, latent] (and classes int64 [n]) -> images float32 [n, c, s, s] in [-1, 1].

        Raises:
            InputError: a wrong shape, a latent that is not finite, a class out of range, missing or not wanted.
        """
        if latents.ndim != 2 or latents.shape[1] != self.latent_size:
            raise InputError(f"Latents must be [n, {self.latent_size}], not {list(latents.shape)}.", where="latents")
        if not bool(torch.isfinite(latents).all()):
            raise InputError("Latents must be finite numbers: no NaN, no infinity.", where="latents")
        if self.classes:
            if classes is None or classes.shape != latents.shape[:1]:
                raise InputError("This model is class-conditional: give one class for each latent.", where="class")
            if bool(((classes < 0) | (classes >= len(self.classes))).any()):
                raise InputError(f"A class is a number from 0 to {len(self.classes) - 1}.", where="class")
        elif classes is not None:
            raise InputError("This model has no classes: leave the class out.", where="class")
        return self.module(latents, classes)


@dataclass(frozen=True)
class Translator:
    """Translates images between two domains, such as horse (a) and zebra (b).

    Attributes:
        module: the networks, in eval mode, under their directions.  config: the architecture of each.
        domains: names of a and b.  metadata: the checkpoint's own words.  digest: SHA-256 of the checkpoint file.
    """

    module: nn.ModuleDict
    config: ResNetConfig
    domains: tuple[str, str]
    metadata: Metadata
    digest: str

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The networks under the names by which `models.save` takes them."""
        return dict(self.module.items())

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions that the checkpoint holds: "a_to_b", "b_to_a" or both."""
        return tuple(self.module)

    @property
    def stride(self) -> int:
        """Sides of an image must be multiples of this, in pixels (see `models.pad_to_stride`)."""
        return self.config.stride

    @property
    def minimum_size(self) -> int:
        """Sides of an image must be at least this, in pixels."""
        return self.config.minimum_size

    def to(self, device: str | torch.device) -> Self:
        """Moves the weights to `device`, in place."""
        self.module.to(device)
        return self

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor, direction: Direction) -> torch.Tensor:
        """Images float32 [n, c, h, w] in [-1, 1] -> images of the other domain, the same shape and range.

        Raises:
            InputError: an unknown direction, or a shape that the network cannot take.
        """
        if direction not in self.module:
            raise InputError(f"direction is {' or '.join(self.directions)}, not {direction!r}.", where="direction")
        if images.ndim != 4 or images.shape[1] != self.config.channels:
            raise InputError(f"Images must be [n, {self.config.channels}, h, w], not {list(images.shape)}.")
        if any(side % self.stride or side < self.minimum_size for side in images.shape[2:]):
            raise InputError(
                f"Sides must be multiples of {self.stride} and at least {self.minimum_size}, "
                f"not {list(images.shape[2:])}: see models.pad_to_stride."
            )
        return self.module[direction](images)

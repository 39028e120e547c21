"""The face of a network that names the class of an image, whose features before the last layer measure sets of images.

It serves no request of its own: metrics take it in Inception's place (docs/metrics.md).
"""

from dataclasses import dataclass

import torch

from models.architectures import ClassifierConfig
from models.errors import CheckpointError, InputError
from models.faces import Model


@dataclass(frozen=True)
class Classifier(Model):
    """Names the class of an image."""

    PARTS = ("classifier",)
    DOES = "names the class of an image"

    config: ClassifierConfig

    @property
    def image_size(self) -> int:
        return self.config.image_size

    @property
    def feature_size(self) -> int:
        """Components of a feature vector."""
        return self.config.feature_size

    @property
    def classes(self) -> tuple[str, ...]:
        return self.metadata.classes or ()

    def check(self, name: str) -> None:
        if self.metadata.domains is not None:
            raise CheckpointError(f"{name}: only translators have domains.")
        if len(self.classes) != self.config.classes:
            raise CheckpointError(
                f"{name}: {self.config.classes} class names are needed, {len(self.classes)} are given."
            )

    @torch.inference_mode()
    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Images float32 [n, c, s, s] in [-1, 1] -> what the last layer sees, float32 [n, feature_size].

        Raises:
            InputError: a wrong shape.
        """
        return self.parts["classifier"].features(self._checked(images))  # type: ignore[operator]

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Images float32 [n, c, s, s] in [-1, 1] -> logits float32 [n, classes].

        Raises:
            InputError: a wrong shape.
        """
        return self.parts["classifier"](self._checked(images))

    def _checked(self, images: torch.Tensor) -> torch.Tensor:
        shape = [self.channels, self.image_size, self.image_size]
        if list(images.shape[1:]) != shape:
            raise InputError(f"Images must be [n, {', '.join(map(str, shape))}], not {list(images.shape)}.")
        return images

"""The face of a network that names the class of an image, whose features before the last layer measure sets of images.

It serves no request of its own: metrics take it in Inception's place (docs/metrics.md).
"""

from dataclasses import dataclass

import torch

from models.architectures import ClassifierConfig
from models.faces import Model, check_images


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
        self.check_class_names(self.config.classes, name)

    @torch.inference_mode()
    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Images float32 [n, c, s, s] in [-1, 1] -> what the last layer sees, float32 [n, feature_size].

        Raises:
            InputError: a wrong shape.
        """
        check_images(images, self.channels, self.image_size)
        return self.parts["classifier"].features(images)  # type: ignore[operator]

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Images float32 [n, c, s, s] in [-1, 1] -> logits float32 [n, classes].

        Raises:
            InputError: a wrong shape.
        """
        check_images(images, self.channels, self.image_size)
        return self.parts["classifier"](images)

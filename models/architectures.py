"""What the faces of a network (`models/faces.py`) need to know of its architecture."""

from typing import Protocol

from torch import nn


class Architecture(Protocol):
    """A frozen dataclass that rebuilds networks; its fields are what a checkpoint's `architecture` holds."""

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        ...

    def parts(self) -> dict[str, nn.Module]:
        """New networks, initialised as their paper says, under the names that its face gives them."""
        ...


class SamplerConfig(Architecture, Protocol):
    """What a `Generator` needs to know beside: the side in pixels, components of a latent, how many classes (or 0)."""

    @property
    def image_size(self) -> int: ...
    @property
    def latent_size(self) -> int: ...
    @property
    def classes(self) -> int: ...


class AutoencoderConfig(SamplerConfig, Protocol):
    """What an `Autoencoder` needs to know beside: the components of a code."""

    @property
    def code_size(self) -> int: ...


class TranslatorConfig(Architecture, Protocol):
    """What a `Translator` needs to know beside: of what the sides of an image are multiples, the least side, and
    whether the generators give masks (`attention.py`)."""

    @property
    def stride(self) -> int: ...
    @property
    def minimum_size(self) -> int: ...
    @property
    def attends(self) -> bool: ...


class ClassifierConfig(Architecture, Protocol):
    """What a `Classifier` needs to know beside: the side in pixels, how many classes, components of a feature."""

    @property
    def image_size(self) -> int: ...
    @property
    def classes(self) -> int: ...
    @property
    def feature_size(self) -> int: ...

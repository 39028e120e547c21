"""What looks at images for a score: the Inception, or one of the operator's own networks, by its name.

    GAN_EXTRACTORS=cifar10=/srv/cifar10.safetensors,faces=/srv/faces.onnx

Clients name them, and never a file: what runs here is the operator's choice.
"""

import functools

import metrics
from models.errors import GanError, NotFoundError, WeightsUnavailable
from service.settings import Settings


class Extractors:
    """Each is loaded once, on the thread that first needs it.

    Args:
        inception: what to take for it.
    """

    def __init__(self, settings: Settings, inception: metrics.Extractor | None = None) -> None:
        self._files, self._device = settings.extractors, settings.device
        self.inception = functools.cache(lambda: inception or local_extractor(settings))
        self._load = functools.cache(self._loaded)

    def check(self, name: str | None) -> None:
        """Raises NotFoundError where there is none of this name; None is the Inception."""
        if name is not None and name not in self._files:
            known = ", ".join(self._files) or "none"
            raise NotFoundError(f"There is no extractor {name!r}; there are: {known}.", where="extractor")

    def named(self, name: str | None) -> metrics.Extractor:
        """The extractor of this name; None is the Inception.

        Raises:
            NotFoundError: as `check`.  WeightsUnavailable: its file is not there or cannot serve, which is the
            operator's to mend.
        """
        self.check(name)
        return self.inception() if name is None else self._load(name)

    def _loaded(self, name: str) -> metrics.Extractor:
        try:
            return metrics.custom_extractor(self._files[name], device=self._device)
        except (GanError, OSError) as error:
            raise WeightsUnavailable(f"The extractor {name} cannot be used: {error}", where="extractor") from error


def local_extractor(settings: Settings) -> metrics.Extractor:
    """The Inception on the service's device, from files at hand only: no request may start a download.

    Raises WeightsUnavailable, which says what its operator has to do.
    """
    path = settings.inception_weights or metrics.cached_weights()
    if not path.is_file():
        raise WeightsUnavailable(
            "Scores need the Inception weights, which are not on this machine. Its operator fetches them with "
            "`make weights` (python -m metrics fetch), or names a file in GAN_INCEPTION_WEIGHTS. Everything else works."
        )
    return metrics.extractor(path, device=settings.device)

"""The Inception of a running service: from files at hand only, because no request may start a download."""

import metrics
from models.errors import WeightsUnavailable
from service.settings import Settings


def local_extractor(settings: Settings) -> metrics.Extractor:
    """The Inception on the service's device.

    Raises WeightsUnavailable, which says what its operator has to do.
    """
    path = settings.inception_weights or metrics.cached_weights()
    if not path.is_file():
        raise WeightsUnavailable(
            "Scores need the Inception weights, which are not on this machine. Its operator fetches them with "
            "`make weights` (python -m metrics fetch), or names a file in GAN_INCEPTION_WEIGHTS. Everything else works."
        )
    return metrics.extractor(path, device=settings.device)

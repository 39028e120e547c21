"""What pictures say of the model that made them."""

from collections.abc import Mapping

from models.origin import Origin, SourceType
from service.registry.checkpoints import AnyServed


def origin_of(served: AnyServed, source: SourceType, more: Mapping[str, str]) -> Origin:
    """The model's name and digest, `more`, and what it says of its training."""
    return Origin(source, {"model": served.id, "digest": served.digest, **more}, served.metadata.training)

"""What pictures say of the model that made them."""

from collections.abc import Mapping

from service.encoding.origin import PREFIX, Origin, SourceType
from service.registry.checkpoints import AnyServed


def origin_of(served: AnyServed, source: SourceType, more: Mapping[str, str]) -> Origin:
    """The model's name and digest and, each name without the prefix, `more`; and what it says of its training."""
    text = {"model": served.id, "digest": served.digest, **more}
    return Origin(source, {PREFIX + name: value for name, value in text.items()}, served.metadata.training)

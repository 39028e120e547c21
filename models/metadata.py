"""What a checkpoint says of itself: the JSON object in its header.

format_version  1
kind            the architecture's name in the table of `models.networks`: "dcgan", "mlp", "cyclegan", ...
architecture    the fields of that architecture's frozen config
domains         ["horse", "zebra"] for translators, else null
classes         ["airplane", ...] for class-conditional generators, else null
training        loss, steps, images seen, dataset name and digest, seed, code version, device kind, ...
metrics         name -> value, protocol, sample counts, reference
"""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from models import strict_json
from models.errors import CheckpointError

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Metadata:
    """What a checkpoint says of itself (see the head of this file)."""

    kind: str
    architecture: dict[str, Any]
    domains: tuple[str, str] | None = None
    classes: tuple[str, ...] | None = None
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """The JSON object that a header holds, strictly; `parse` reads it back."""
        return strict_json.dumps(dataclasses.asdict(self))

    def check(self, name: str) -> None:
        """Raises CheckpointError for another format, or fields of another type; `name` is what to call the file."""
        if self.format_version != FORMAT_VERSION:
            raise CheckpointError(
                f"{name} has format {self.format_version}; this version reads format {FORMAT_VERSION}."
            )
        if not isinstance(self.kind, str):
            raise CheckpointError(f"{name}: kind must be a name.")
        for part in ("architecture", "training", "metrics"):
            if not isinstance(getattr(self, part), dict):
                raise CheckpointError(f"{name}: {part} must be a JSON object.")
        for part in ("domains", "classes"):
            names = getattr(self, part)
            if names is not None and not (isinstance(names, tuple) and all(isinstance(one, str) for one in names)):
                raise CheckpointError(f"{name}: {part} must be a list of names, or null.")


def parse(text: str, name: str) -> Metadata:
    """Reads a header's JSON; `name` is what to call the file in an error.

    Raises:
        CheckpointError: not JSON, an unknown field, or not valid (see `Metadata.check`).
    """
    try:
        fields = strict_json.strict(json.loads(text))  # headers of earlier versions may hold NaN
    except (json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"{name}: its header is not JSON: {error}.") from error
    known = {field.name for field in dataclasses.fields(Metadata)}
    if not isinstance(fields, dict) or not {"format_version", "kind", "architecture"} <= set(fields) <= known:
        raise CheckpointError(f"{name}: its header must be a JSON object of {', '.join(sorted(known))}.")
    for part in ("domains", "classes"):
        if isinstance(fields.get(part), list):
            fields[part] = tuple(fields[part])
    metadata = Metadata(**fields)
    metadata.check(name)
    return metadata

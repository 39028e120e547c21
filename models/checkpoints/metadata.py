"""What a checkpoint says of itself: the JSON object in its header.

format_version  1
kind            "dcgan", "mlp" or "cyclegan"
architecture    the frozen config of `models.networks.architectures`
domains         ["horse", "zebra"] for translators, else null
classes         ["airplane", ...] for class-conditional generators, else null
training        loss, steps, images seen, dataset name and digest, seed, code version, device kind, ...
metrics         name -> value, protocol, sample counts, reference
"""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from models.errors import CheckpointError
from models.networks.architectures import GeneratorConfig, ResNetConfig, config_from

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
        """The JSON object that a header holds; `parse` reads it back."""
        return json.dumps(dataclasses.asdict(self))

    @property
    def config(self) -> GeneratorConfig:
        """The frozen architecture config; raises CheckpointError where it is not valid."""
        return config_from(self.kind, self.architecture)


def parse(text: str, name: str) -> Metadata:
    """Reads a header's JSON; `name` is what to call the file in an error.

    Raises:
        CheckpointError: not JSON, an unknown field, or not valid (see `check`).
    """
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{name}: its header is not JSON: {error}.") from error
    known = {field.name for field in dataclasses.fields(Metadata)}
    if not isinstance(fields, dict) or not {"format_version", "kind", "architecture"} <= set(fields) <= known:
        raise CheckpointError(f"{name}: its header must be a JSON object of {', '.join(sorted(known))}.")
    for part in ("domains", "classes"):
        if isinstance(fields.get(part), list):
            fields[part] = tuple(fields[part])
    metadata = Metadata(**fields)
    check(metadata, name)
    return metadata


def check(metadata: Metadata, name: str) -> None:
    """Raises CheckpointError where format, architecture, domains and classes do not fit together."""
    if metadata.format_version != FORMAT_VERSION:
        raise CheckpointError(
            f"{name} has format {metadata.format_version}; this version reads format {FORMAT_VERSION}."
        )
    for part in ("architecture", "training", "metrics"):
        if not isinstance(getattr(metadata, part), dict):
            raise CheckpointError(f"{name}: {part} must be a JSON object.")
    config = metadata.config
    if isinstance(config, ResNetConfig):
        domains = metadata.domains
        if not isinstance(domains, tuple) or len(domains) != 2 or not all(isinstance(d, str) for d in domains):
            raise CheckpointError(f'{name}: a translator needs two domain names, such as ["horse", "zebra"].')
        return
    if metadata.domains is not None:
        raise CheckpointError(f"{name}: only translators have domains.")
    classes = metadata.classes or ()
    if len(classes) != config.classes or not all(isinstance(name, str) for name in classes):
        raise CheckpointError(f"{name}: {config.classes} class names are needed, {len(classes)} are given.")

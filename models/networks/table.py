"""The table of architectures: everything that a checkpoint can hold, by the `kind` that its header names.

A network joins by one file that stands in `models/networks/__init__.py` and defines one frozen dataclass:

    @architecture("dcgan", Generator)           # its kind, and the face that `models.load` gives it
    @dataclass(frozen=True)
    class DCGANConfig:
        image_size: int = 64                    # fields are int, float, bool, str or Literal; __post_init__ checks them
        def parts(self) -> dict[str, nn.Module]:
            return {"generator": DCGANGenerator(self)}

Checkpoints, the importer, training and the service know architectures by this table alone.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeVar, get_args, get_origin, get_type_hints

from torch import nn

from models.architectures import Architecture
from models.errors import CheckpointError, InputError
from models.faces import Model
from models.metadata import Metadata

Config = TypeVar("Config", bound=Architecture)

_WORDS: dict[object, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


@dataclasses.dataclass(frozen=True)
class _Row:
    kind: str
    config: type[Architecture]
    face: type[Model]
    fields: dict[str, Any]  # name to type
    needed: set[str]  # those without a default


class Discriminator(Protocol):
    """A frozen dataclass that builds a discriminator of generated images, for training. No checkpoint holds one."""

    def build(self) -> nn.Module:
        """The discriminator, newly initialised."""
        ...


Judge = TypeVar("Judge", bound=Discriminator)

_rows: dict[str, _Row] = {}
_discriminators: dict[str, type[Discriminator]] = {}


def architecture(kind: str, face: type[Model]) -> Callable[[type[Config]], type[Config]]:
    """Enters a frozen dataclass into the table.

    Raises:
        TypeError: the kind is taken, or a field has a type that JSON has no word for.
    """

    def enter(config: type[Config]) -> type[Config]:
        if kind in _rows:
            raise TypeError(f"{kind} is taken by {_rows[kind].config.__name__}.")
        hints = get_type_hints(config)
        all_ = dataclasses.fields(config)  # type: ignore[arg-type]
        fields = {field.name: hints[field.name] for field in all_}
        for name, type_ in fields.items():
            if type_ not in _WORDS and get_origin(type_) is not Literal:
                raise TypeError(f"{config.__name__}.{name} must be int, float, bool, str or Literal, not {type_}.")
        needed = {field.name for field in all_ if field.default is dataclasses.MISSING}
        _rows[kind] = _Row(kind, config, face, fields, needed)
        return config

    return enter


def discriminator(kind: str) -> Callable[[type[Judge]], type[Judge]]:
    """Enters a frozen dataclass as the discriminator that the architecture of a kind is trained against."""

    def enter(config: type[Judge]) -> type[Judge]:
        _discriminators[kind] = config
        return config

    return enter


def discriminators() -> Mapping[str, type[Discriminator]]:
    """By the kind of the architecture that they belong to."""
    return _discriminators


def architectures(face: type[Model]) -> Mapping[str, type[Architecture]]:
    """All architectures of a face, by their kind."""
    return {row.kind: row.config for row in _rows.values() if row.face is face}


def kind_of(config: Architecture) -> str:
    """The `kind` that a checkpoint records for this config."""
    return _row_of(config).kind


def face_of(config: Architecture) -> type[Model]:
    """What `models.load` gives for this config."""
    return _row_of(config).face


def metadata_of(config: Architecture, **fields: Any) -> Metadata:
    """A checkpoint's metadata, with kind and architecture from the config; `fields` are the other ones."""
    return Metadata(kind=kind_of(config), architecture=dict(vars(config)), **fields)


def _row_of(config: Architecture) -> _Row:
    return next(row for row in _rows.values() if row.config is type(config))


def config_from(kind: str, fields: Mapping[str, Any]) -> Architecture:
    """The frozen config that a checkpoint's `kind` and `architecture` stand for; fields left out take their defaults.

    Raises:
        CheckpointError: the kind is unknown, or a field is unknown, missing, of another type or out of range.
    """
    if kind not in _rows:
        raise CheckpointError(f"Unknown kind {kind!r}: this version knows {', '.join(_rows)}.")
    row = _rows[kind]
    if unknown := sorted(set(fields) - set(row.fields)):
        raise CheckpointError(f"Unknown architecture fields for {kind}: {', '.join(unknown)}.")
    for name, value in fields.items():
        if not _fits(value, row.fields[name]):
            raise CheckpointError(
                f"The architecture field {name} of {kind} is {_said(row.fields[name])}, not {value!r}."
            )
    if missing := sorted(row.needed - set(fields)):
        raise CheckpointError(f"Missing architecture fields for {kind}: {', '.join(missing)}.")
    try:
        return row.config(**fields)
    except InputError as error:
        raise CheckpointError(f"The {kind} architecture is not valid: {error.message}") from error


def _fits(value: object, type_: Any) -> bool:
    """Whether a value of JSON is one of this type; a whole number is a number too, but true is no number."""
    if get_origin(type_) is Literal:
        return any(value == one and type(value) is type(one) for one in get_args(type_))
    if type_ is float:
        return type(value) is int or (type(value) is float and math.isfinite(value))
    return type(value) is type_


def _said(type_: Any) -> str:
    if get_origin(type_) is Literal:
        return f"one of {', '.join(map(repr, get_args(type_)))}"
    return _WORDS[type_]

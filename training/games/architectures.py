"""From a run's options to the architectures of its networks, by name: an architecture's field takes the option of its
name, a discriminator's field `width` the option `discriminator_width` before that. So a new architecture whose fields
have options already needs no line here."""

import dataclasses
from typing import Any, TypeVar

from models import InputError
from training.options.base import flag
from training.options.run import Run

Config = TypeVar("Config")


def config_of(architecture: type[Config], run: Run, *, beside: str = "", **others: Any) -> Config:
    """The architecture that a run asks for; what it has no option for takes the architecture's own default.

    Args:
        architecture: a frozen dataclass.
        beside: "discriminator_" for one, whose own options begin with it.
        others: values that stand in no option, such as the number of classes.

    Raises:
        InputError: an option is not one that the architecture can have; named by its flag.
    """
    options = {**dict(run.data), **dict(run.network), **others}
    names = {field: option_of(field, options, beside) for field in fields(architecture)}
    values = {field: options[name] for field, name in names.items() if name in options}
    try:
        return architecture(**values)
    except InputError as error:
        named = names.get(error.where or "", "")
        raise InputError(f"{flag(named)}: {error.message}" if named else error.message, where=named) from error


def fields(architecture: type) -> set[str]:
    """The names of an architecture's fields."""
    return {field.name for field in dataclasses.fields(architecture)}


def default_of(architecture: type, field: str, otherwise: Any) -> Any:
    """What an architecture's field is where nothing else is asked for; `otherwise` where it has no such field."""
    return {one.name: one.default for one in dataclasses.fields(architecture)}.get(field, otherwise)


def option_of(field: str, options: dict[str, Any], beside: str) -> str:
    """The name of the option that a field takes."""
    return beside + field if beside + field in options else field

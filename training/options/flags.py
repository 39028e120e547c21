"""A run <-> JSON <-> command-line flags, strictly: an unknown key or flag is an error.

Every option's name is unique within a run, so the flag of `pace.snapshot_kimg` is simply `--snapshot-kimg`. The JSON
keeps the groups: {"kind": "dcgan", "pace": {"snapshot_kimg": 20.0}, ...}. It is the one dialect: `--dry-run` prints it,
recipes and a run's `config.json` hold it, `--config` and `--resume` read it.
"""

import argparse
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from models import InputError
from training.options.base import flag
from training.options.run import Run

METAVARS: dict[Any, str] = {int: "N", float: "X", str: "TEXT"}
AnyRun = TypeVar("AnyRun", bound=Run)


def add_flags(parser: argparse.ArgumentParser, run: type[Run]) -> None:
    """Adds one flag per option of the run type. Flags that are not given leave no trace in the namespace."""
    for group in run.groups().values():
        section = parser.add_argument_group((type(group).__doc__ or "").split("\n")[0].rstrip("."))
        for name, field in type(group).model_fields.items():
            kind, default = field.annotation, getattr(group, name)
            meaning = (field.description or "").replace("%", "%%") + (f" (default: {default})" if default != "" else "")
            named: dict[str, Any] = {"default": argparse.SUPPRESS, "help": meaning}
            if kind is bool:
                named["action"] = argparse.BooleanOptionalAction
            elif typing.get_origin(kind) is typing.Literal:
                named["choices"] = typing.get_args(kind)
            else:
                named |= {"type": kind, "metavar": METAVARS[kind]}
            section.add_argument(flag(name), **named)


def given(namespace: argparse.Namespace, run: type[Run]) -> dict[str, dict[str, Any]]:
    """The options that were typed, as {group: {option: value}}."""
    typed = vars(namespace)
    found = {
        name: {option: typed[option] for option in type(group).model_fields if option in typed}
        for name, group in run.groups().items()
    }
    return {name: options for name, options in found.items() if options}


def read_json(path: Path, named: str) -> dict[str, Any]:
    """A JSON object from a file; raises InputError that names where it was named: a flag."""
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{named}: {path} cannot be read: {error.strerror}.", where=named) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{named}: {path} is not JSON: {error}.", where=named) from error
    if not isinstance(content, dict):
        raise InputError(f"{named}: {path} must hold an object of option groups.", where=named)
    return content


def to_dict(run: Run) -> dict[str, Any]:
    """The whole configuration as plain JSON: {"kind": ..., group: {option: value}}."""
    return run.model_dump()


def from_dict(run: type[AnyRun], source: Mapping[str, Any], *, origin: str = "") -> AnyRun:
    """Builds a run from {group: {option: value}}; options left out take their defaults.

    Args:
        origin: the file that it comes from, to be named in an error.

    Raises:
        InputError: an unknown group or option, or a value that is not one of the option's.
    """
    try:
        return run(**source)
    except InputError as error:
        if not origin:
            raise
        raise InputError(f"{origin}: {error.message}", where=error.where) from error


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the options of `changes` put over it, group by group. What is no group is left for `from_dict`."""
    result = dict(base)
    for name, options in changes.items():
        before = base.get(name, {})
        wrong = [one for one in (before, options) if not isinstance(one, Mapping)]
        result[name] = wrong[0] if wrong else {**before, **options}
    return result


def differences(old: Run, new: Run) -> dict[str, tuple[Any, Any]]:
    """{"group.option": (old value, new value)} wherever two runs of one kind differ."""
    return {
        f"{name}.{option}": (getattr(getattr(old, name), option), value)
        for name in new.groups()
        for option, value in dict(getattr(new, name)).items()
        if getattr(getattr(old, name), option) != value
    }

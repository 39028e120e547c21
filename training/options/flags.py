"""Frozen dataclasses <-> JSON <-> command-line flags, strictly: an unknown key or flag is an error.

A run's configuration is a dataclass whose fields are groups (dataclasses) of plain options. Every option's name is
unique within a run, so the flag of `pace.snapshot_kimg` is simply `--snapshot-kimg`. The JSON keeps the groups.
"""

import argparse
import dataclasses
import json
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from models import InputError


def positive(name: str, value: float) -> None:
    """Refuses an option that is not more than 0."""
    require(value > 0, name, "must be more than 0", value)


def require(ok: bool, name: str, rule: str, value: object) -> None:
    """Raises InputError, which names the option's flag, the rule and what was given, unless `ok`."""
    if not ok:
        raise InputError(f"--{name.replace('_', '-')} {rule}; got {value!r}.", where=name)


Run = TypeVar("Run")


def option(default: Any, meaning: str) -> Any:
    """A dataclass field with its default and the sentence that `--help` prints."""
    return dataclasses.field(default=default, metadata={"help": meaning})


def groups(run: Any) -> Iterator[tuple[str, Any]]:
    """(group name, group with its defaults) of each group of a run type, in order."""
    for field in dataclasses.fields(run):
        yield field.name, typing.cast(Callable[[], Any], field.default_factory)()


def add_flags(parser: argparse.ArgumentParser, run: Any) -> None:
    """Adds one flag per option of the run type. Flags that are not given leave no trace in the namespace."""
    for _, group in groups(run):
        section = parser.add_argument_group((type(group).__doc__ or "").split("\n")[0].rstrip("."))
        hints = typing.get_type_hints(type(group))
        for field in dataclasses.fields(group):
            flag, kind, default = "--" + field.name.replace("_", "-"), hints[field.name], getattr(group, field.name)
            meaning = field.metadata["help"].replace("%", "%%") + (f" (default: {default})" if default != "" else "")
            if kind is bool:
                section.add_argument(
                    flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=meaning
                )
            elif typing.get_origin(kind) is typing.Literal:
                section.add_argument(flag, choices=typing.get_args(kind), default=argparse.SUPPRESS, help=meaning)
            else:
                metavar = {int: "N", float: "X", str: "TEXT"}[kind]
                section.add_argument(flag, type=kind, default=argparse.SUPPRESS, help=meaning, metavar=metavar)


def given(namespace: argparse.Namespace, run: Any) -> dict[str, dict[str, Any]]:
    """The options that were typed, as {group: {option: value}}."""
    typed = vars(namespace)
    found = {
        name: {field.name: typed[field.name] for field in dataclasses.fields(group) if field.name in typed}
        for name, group in groups(run)
    }
    return {name: options for name, options in found.items() if options}


def read_json(path: Path, flag: str) -> dict[str, Any]:
    """A JSON object from a file; raises InputError that names the flag."""
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{flag}: {path} cannot be read: {error.strerror}.", where=flag) from error
    except ValueError as error:
        raise InputError(f"{flag}: {path} is not JSON: {error}.", where=flag) from error
    if not isinstance(content, dict):
        raise InputError(f"{flag}: {path} must hold an object of option groups.", where=flag)
    return content


def to_dict(run: Any) -> dict[str, dict[str, Any]]:
    """The whole configuration as plain JSON: {group: {option: value}}."""
    return dataclasses.asdict(run)


def defaults(run: Any) -> dict[str, dict[str, Any]]:
    """{group: {option: default}} of a run type."""
    return {name: dataclasses.asdict(group) for name, group in groups(run)}


def from_dict(run: type[Run], source: Mapping[str, Any], *, origin: str) -> Run:
    """Builds a run from {group: {option: value}}; options left out take their defaults.

    Raises:
        InputError: an unknown group or option, or a value of the wrong type, named with `origin`.
    """
    known = dict(groups(run))
    _refuse_unknown(source, known, origin, "group")
    built = {}
    for name, group in known.items():
        values = source.get(name, {})
        if not isinstance(values, Mapping):
            raise InputError(f"{origin}: `{name}` must be an object of options, not {values!r}.", where=name)
        hints = typing.get_type_hints(type(group))
        _refuse_unknown(values, hints, origin, f"option of `{name}`")
        checked = {key: _checked(value, hints[key], f"{name}.{key}", origin) for key, value in values.items()}
        built[name] = dataclasses.replace(group, **checked)
    return run(**built)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the options of `changes` put over it, group by group. What is no group is left for `from_dict`."""
    result = dict(base)
    for name, options in changes.items():
        before = base.get(name, {})
        both = isinstance(before, Mapping) and isinstance(options, Mapping)
        result[name] = {**before, **options} if both else options
    return result


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """{"group.option": (old value, new value)} wherever two configurations differ."""
    found = {}
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name, {}), new.get(name, {})
        for key in dict.fromkeys([*before, *after]):
            if before.get(key) != after.get(key):
                found[f"{name}.{key}"] = (before.get(key), after.get(key))
    return found


def _refuse_unknown(source: Mapping[str, Any], known: Mapping[str, Any], origin: str, what: str) -> None:
    unknown = [key for key in source if key not in known]
    if unknown:
        raise InputError(
            f"{origin}: unknown {what} {', '.join(map(repr, unknown))}. Known: {', '.join(known)}.", where=unknown[0]
        )


def _checked(value: Any, kind: Any, where: str, origin: str) -> Any:
    if typing.get_origin(kind) is typing.Literal:
        choices = typing.get_args(kind)
        if value in choices:
            return value
        raise InputError(f"{origin}: {where} must be one of {', '.join(choices)}, not {value!r}.", where=where)
    if kind is float and type(value) is int:  # JSON writes 1.0 as 1 in many hands
        return float(value)
    if type(value) is not kind:
        raise InputError(f"{origin}: {where} must be {kind.__name__}, not {value!r}.", where=where)
    return value

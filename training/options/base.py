"""What every group of options is: a frozen pydantic model that knows its own bounds, and says in one sentence what is
wrong with a value."""

import os
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from models import InputError


class Options(BaseModel):
    """A group of options. Strict: no text for a number, no unknown name, no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _texts_can_be_names(self) -> Self:
        """JSON can hold text that no file's name and no flag could."""
        for name, value in self:
            require(not isinstance(value, str) or _can_be_a_name(value), name, "holds what no name can", value)
        return self


def require(ok: bool, name: str, rule: str, value: object) -> None:
    """Raises InputError, which names the option's flag, the rule and what was given, unless `ok`."""
    if not ok:
        raise InputError(f"{flag(name)} {rule}; got {value!r}.", where=name)


def _can_be_a_name(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def flag(name: str) -> str:
    """An option's flag: `snapshot_kimg` -> `--snapshot-kimg`."""
    return "--" + name.replace("_", "-")


def refusal(error: ValidationError, known: dict[str, list[str]]) -> InputError:
    """The first thing that pydantic found wrong, as a sentence that names the flag.

    Args:
        known: the names of the options of each group.
    """
    first = error.errors(include_url=False)[0]
    place = [str(part) for part in first["loc"]]
    given, rules, kind = first["input"], first.get("ctx", {}), first["type"]
    name = place[-1] if place else ""
    if isinstance(rules.get("error"), InputError):  # raised by a check of ours
        return rules["error"]
    if kind == "extra_forbidden" and len(place) == 1:
        return InputError(f"unknown group {name!r}. Known: {', '.join(known)}.", where=name)
    if kind == "extra_forbidden":
        return InputError(f"unknown option of `{place[0]}` {name!r}. Known: {', '.join(known[place[0]])}.", where=name)
    if kind == "model_type":
        return InputError(f"`{name}` must be an object of options, not {given!r}.", where=name)
    return InputError(f"{flag(name)} must be {_rule(kind, rules)}; got {given!r}.", where=name)


def _rule(kind: str, rules: dict[str, Any]) -> str:
    """What a value must be, by the name of pydantic's error."""
    match kind:
        case "greater_than":
            return f"more than {rules['gt']:g}"
        case "greater_than_equal":
            return f"{rules['ge']:g} or more"
        case "less_than":
            return f"less than {rules['lt']:g}"
        case "less_than_equal":
            return f"{rules['le']:g} or less"
        case "literal_error":
            return f"one of {rules['expected'].replace(' or ', ', ').replace(chr(39), '')}"
    words = {
        "finite_number": "a finite number",
        "int_type": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "string_type": "text",
    }
    return words.get(kind, kind.replace("_", " "))

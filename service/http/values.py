"""From JSON, forms and queries to named values, before a model looks at them: one set of rules for the three.

What is null in JSON, or empty in a form or query, is as good as left out. A name comes once, because either value
could be the one meant. Numbers are JSON Schema's, to which 1.0 is an integer. What costs more to read than any request
needs (names, brackets, digits) is refused while it arrives, or it would hold up everybody's event loop.
"""

import codecs
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from models.errors import InputError
from service.errors import MediaTypeError

MOST_NAMES = 100
_MOST_DIGITS = 400  # a float of 1.8e308 written out has 309
# Marks in a JSON body, and how many there may be: of the largest request, 256 latents of 1,024 numbers, and of a prompt
# of 32,000 quotation marks.
_MOST = {"values": (b",", 300_000), "lists and objects": (b"[{", 10_000), "names and texts": (b'"', 100_000)}


class Marks:
    """Counts what a JSON body holds, piece by piece as it comes."""

    def __init__(self) -> None:
        self._seen = dict.fromkeys(_MOST, 0)

    def count(self, piece: bytes) -> None:
        """Raises InputError once there is more of anything than any request needs."""
        for what, (marks, most) in _MOST.items():
            self._seen[what] += sum(piece.count(mark) for mark in marks)
            if self._seen[what] > most:
                raise InputError(f"The JSON has too many {what}: at most {most:,} are read.", where="body")


def from_json(data: bytes) -> dict[str, Any]:
    """The members of a JSON object (RFC 8259, UTF-8, a byte order mark is passed over); no bytes are {}.

    Raises:
        MediaTypeError: UTF-16 or UTF-32.
        InputError: not JSON, not an object, or a name twice.
    """
    if 0 in data[:4] or data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise MediaTypeError("Send JSON in UTF-8; this looks like UTF-16 or UTF-32.", where="body")
    try:
        text = data.decode("utf-8-sig")
        values = _DECODER.decode(text) if text else {}
    except UnicodeDecodeError:
        raise InputError("The body is not UTF-8, and JSON is (RFC 8259, 8.1).", where="body") from None
    except RecursionError:
        raise InputError("The JSON is nested more deeply than any field is.", where="body") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"The body is not JSON: {error.msg} ({place}).", where="body") from None
    if not isinstance(values, dict):
        raise InputError('The body is one JSON object, such as {"seed": 7}.', where="body")
    return {name: _whole(value) for name, value in values.items()}


def from_text(pairs: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    """The fields of a form or query; an empty one is null."""
    return {name: value or None for name, value in _once(pairs).items()}


def given(values: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """The fields without those that are null; a name that the model does not have stays, for the model to refuse."""
    names = {field.alias or name for name, field in model.model_fields.items()}
    return {name: value for name, value in values.items() if value is not None or name not in names}


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise InputError(f"{name[:100]} came twice.", where=name[:100])
        values[name] = value
        if len(values) > MOST_NAMES:
            raise InputError(f"There are more than {MOST_NAMES} fields.", where="body")
    return values


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise InputError(f"A number has {len(digits):,} digits; no field takes as many.", where="body")
    return int(digits)


def _fraction(digits: str) -> float:
    return float(digits)


# NaN and Infinity, which json reads though they are not JSON, are refused by the fields, which can say their names.
# Numbers are read by functions of ours, and not by C alone, so that between two of a million the interpreter can be
# handed over to the event loop.
_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_int=_integer, parse_float=_fraction)


def _whole(value: object, deep: int = 3) -> object:
    """1.0 as 1, also in a list or object; lists in a list are latents, whose numbers are fractions anyway."""
    if isinstance(value, list) and deep:
        return [one if isinstance(one, list) else _whole(one, deep - 1) for one in value]
    if isinstance(value, dict) and deep:
        return {name: _whole(one, deep - 1) for name, one in value.items()}
    return _integral(value) if type(value) is float else value


def _integral(number: float) -> float | int:
    return int(number) if number.is_integer() else number

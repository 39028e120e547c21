"""The kinds of values that settings have, made from the environment's texts, and defaults that depend on a machine.

`NUMERAL` is for forms and queries, too: wherever a number comes as text.
"""

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, get_args

import torch
from pydantic import AfterValidator, BeforeValidator, ValidationInfo
from pydantic_core import PydanticCustomError

import models
from models import Precision, commandline

ESCAPED = "cannot be read as an address; a password's @ is written %40, its / %2F, its # %23 and its ? %3F."
_ORIGIN = re.compile(r"https?://[a-z0-9.\-\[\]:]+", re.ASCII)  # as a browser writes it


def _numeral(value: object) -> object:
    """A text as JSON writes numbers. Pydantic alone reads 9_0 as 90, too, and `inf`."""
    if isinstance(value, str) and commandline.NUMERAL.fullmatch(value.strip(" \t\r\n")) is None:
        raise PydanticCustomError("numeral", "Write a number in digits, such as 90 or 0.5")
    return value


def split(separator: str) -> BeforeValidator:
    """`a,b` -> ["a", "b"]"""

    def parts(value: object) -> object:
        return [part.strip() for part in value.split(separator) if part.strip()] if isinstance(value, str) else value

    return BeforeValidator(parts)


def pairs(value: object) -> object:
    """`a=x,b=y` -> {"a": "x", "b": "y"}"""
    if not isinstance(value, str):
        return value
    found: dict[str, str] = {}
    for part in filter(str.strip, value.split(",")):
        name, target = (side.strip() for side in part.partition("=")[::2])
        if not name or not target:
            raise ValueError("write it as name=value,name=value")
        if name in found:
            raise ValueError(f"{name[:80]!r} is there twice")
        found[name] = target
    return found


def measured(value: object, info: ValidationInfo) -> object:
    """`auto` -> what the device is faster in"""
    if value == "auto":
        device = torch.device(info.data.get("device", "cpu"))  # absent where it is wrong, which is said of it
        return "bfloat16" if models.faster_in_bfloat16(device) else "float32"
    if value not in get_args(Precision):
        raise ValueError(f"write {', '.join(get_args(Precision))} or auto")
    return value


def half_the_cores() -> int:
    return max(1, (os.cpu_count() or 2) // 2)


def all_cores() -> int:
    """`OMP_NUM_THREADS` where it is set: "4,2" has 4 at the outermost level, as OpenMP reads it."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if asked and not (commandline.NUMERAL.fullmatch(asked) and asked.isdecimal() and 1 <= int(asked) <= 1024):
        raise ValueError(f"OMP_NUM_THREADS is {asked[:20]!r}; write a whole number from 1 to 1024, or unset it.")
    return int(asked or os.cpu_count() or 1)


def origins(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value != "*" and not _ORIGIN.fullmatch(value):
            raise ValueError(
                f"{value[:80]!r} is no origin: write https://app.example.com, without a path, or * for all"
            )
    return values


def networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        ipaddress.ip_network(value, strict=False)  # raises ValueError, with a sentence
    return values


def _regular(path: Path) -> Path:
    """A missing file is said where it is read; a device or a pipe might never end."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no regular file")
    return path


NUMERAL = BeforeValidator(_numeral)
"""After the bounds, or the OpenAPI document would not show them: `Annotated[int, Field(ge=1), NUMERAL]`."""

Whole = Annotated[int, NUMERAL]
Real = Annotated[float, NUMERAL]
Names = Annotated[tuple[str, ...], split(",")]
RegularFile = Annotated[Path, AfterValidator(_regular)]
Folders = Annotated[tuple[Path, ...], split(os.pathsep)]

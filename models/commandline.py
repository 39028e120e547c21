"""Command lines: flags are written in full, and numbers as JSON has them."""

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

NUMERAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
"""A number as JSON writes it (RFC 8259, section 6). Python alone reads `1_0`, `nan` and the digits of every script."""

_MOST = 2**63 - 1  # what torch and numpy take, as a seed for one
_SHOWN = 40  # characters of what was typed


class Parser(argparse.ArgumentParser):
    """A parser whose `type=int` and `type=float` take what JSON takes, and `type=Path` no empty text.

    So do the parsers of its sub-commands.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, **named})
        self.register("type", int, whole)
        self.register("type", float, real)
        self.register("type", Path, lambda text: Path(place(text)))


def place(text: str) -> str:
    """A file, a folder or another place. Raises ArgumentTypeError for an empty text, as a variable has it that is not
    set: it would stand for the folder that the command is in."""
    if not text:
        raise argparse.ArgumentTypeError("an empty text names nothing")
    return text


def whole(text: str) -> int:
    """Raises ArgumentTypeError for what is no whole number in digits, or needs more than 64 bits."""
    if not NUMERAL.fullmatch(text) or not text.removeprefix("-").isdecimal():
        raise argparse.ArgumentTypeError(f"{text[:_SHOWN]!r} is no whole number; write digits, such as 90")
    if len(text) > _SHOWN or abs(int(text)) > _MOST:
        raise argparse.ArgumentTypeError(f"{text[:_SHOWN]} is too large a number")
    return int(text)


def within(least: int, most: int) -> Callable[[str], int]:
    """A `type` for whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        if not least <= (number := whole(text)) <= most:
            raise argparse.ArgumentTypeError(f"{number} is not from {least:,} to {most:,}")
        return number

    return read


def real(text: str) -> float:
    """Raises ArgumentTypeError for what is no number in digits, or too large for one."""
    if not NUMERAL.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text[:_SHOWN]!r} is no number; write digits, such as 90, 0.5 or 1e-4")
    if math.isinf(number := float(text)):
        raise argparse.ArgumentTypeError(f"{text[:_SHOWN]} is too large a number")
    return number

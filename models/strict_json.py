"""JSON as RFC 8259 has it, which every reader takes: no NaN, no infinity, no half of a surrogate pair.

Python's `json` writes all three. They come from scores of too few images and from file names that are not UTF-8.
"""

import json
import math
from typing import Any


def strict(value: Any) -> Any:
    """The same value as JSON can hold it: NaN and infinities are None, text is `legible`, tuples are lists."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case str():
            return legible(value)
        case dict():
            return {legible(key) if isinstance(key, str) else key: strict(one) for key, one in value.items()}
        case list() | tuple():
            return [strict(one) for one in value]
    return value


def dumps(value: Any, *, indent: int | None = None) -> str:
    """`json.dumps` of the `strict` value."""
    return json.dumps(strict(value), indent=indent, allow_nan=False)


def legible(text: str) -> str:
    """Text that can be printed and sent: bytes of a name that are not UTF-8, surrogates to Python, become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

"""Which form an answer has: the one rule for the Accept header (RFC 9110 12.5.1), over a table for each endpoint.

A table is an endpoint's forms by media type, the one it would choose itself first. Each media type has the weight of
the most specific range that covers it, so that `image/*, image/png;q=0` is any image but a PNG; the highest weight
wins, among equals the range that the header names first, then the table's order.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from service.encoding.pictures import ImageFormat
from service.errors import NotAcceptableError

Form = TypeVar("Form")

IMAGES: Mapping[str, ImageFormat] = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/webp": "webp",
    "image/avif": "avif",
}

_ITEM = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')  # a comma within quotes does not end it
_WEIGHT = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.ASCII)


@dataclass(frozen=True)
class _Range:
    """One item of the header; `media` is type/subtype, type/* or */*."""

    media: str
    weight: float
    place: int

    def covers(self, media: str) -> bool:
        return self.media in ("*/*", media, media.partition("/")[0] + "/*")

    @property
    def specificity(self) -> int:
        return 2 - self.media.count("*")


def choose(field: Form | None, accept: str, table: Mapping[str, Form]) -> Form:
    """The form that a field of the request names or, where it is None, the one that the client wants most.

    Args:
        accept: the header's lines, joined by commas; "" is the same as */*.
    Raises:
        NotAcceptableError: it allows none of them.
    """
    form = preferred(accept, table) if field is None else field
    if form is None:
        raise NotAcceptableError(f"Accept allows none of what can be made here: {', '.join(table)}.", where="accept")
    return form


def preferred(accept: str, table: Mapping[str, Form]) -> Form | None:
    """The same, or None where the header allows none."""
    ranges = _ranges(accept)
    best, form = (0.0, 0), None
    for media, one in table.items():
        covering = [each for each in ranges if each.covers(media)]
        decides = max(covering, key=lambda each: (each.specificity, -each.place), default=None)
        if decides is not None and decides.weight > 0 and (form is None or (decides.weight, -decides.place) > best):
            best, form = (decides.weight, -decides.place), one
    return form


def image_format(accept: str) -> ImageFormat:
    """What images are encoded as where no field says so: what the header wants most, and PNG where it wants none."""
    return preferred(accept, IMAGES) or "png"


def _ranges(accept: str) -> list[_Range]:
    found = []
    for place, item in enumerate(_ITEM.findall(accept or "*/*")):
        media, *parameters = (piece.strip().lower() for piece in item.split(";"))
        weights = [value for name, _, value in (one.partition("=") for one in parameters) if name.strip() == "q"]
        weight = weights[0].strip() if weights else "1"
        found.append(_Range(media, float(weight) if _WEIGHT.fullmatch(weight) else 0.0, place))
    return found

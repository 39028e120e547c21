"""Which format an answer has: what the request asks for, else what its Accept header prefers."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from models.errors import InputError
from service.encoding.pictures import MEDIA, ImageFormat
from service.errors import NotAcceptableError

Output = Literal["image", "grid", "zip", "npz", "json"]

_FORMAT_OF: Mapping[str, ImageFormat] = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/webp": "webp",
    "image/*": "png",
}

_OUTPUT_OF: Mapping[str, Output] = {"application/zip": "zip", "application/x-npz": "npz", "application/json": "json"}


@dataclass(frozen=True)
class Choice:
    """What to answer: `output`, with images inside encoded as `format`."""

    output: Output
    format: ImageFormat


def choose(
    accept: str,
    output: Output | None,
    kind: ImageFormat | None,
    count: int,
    made: Collection[Output] = ("image", "grid", "zip", "npz", "json"),
) -> Choice:
    """The rule at the head of this file.

    Args:
        made: what the endpoint makes.
    Raises:
        NotAcceptableError: Accept allows nothing that we make, and no field says otherwise.
        InputError: `output` is image, and there are several.
    """
    if output is None:
        output, from_accept = _from_accept(accept, count, made)
        kind = kind or from_accept
    if output == "image" and count > 1:
        raise InputError(f"output=image holds one image, not {count}: use grid, zip, npz or json.", where="output")
    asked = [_FORMAT_OF[media] for media in accepted(accept) if media in _FORMAT_OF]
    return Choice(output, kind or (asked[0] if asked else "png"))


def _from_accept(accept: str, count: int, made: Collection[Output]) -> tuple[Output, ImageFormat | None]:
    picture: Output = "image" if count == 1 else "grid"
    for media in accepted(accept):
        if media in _FORMAT_OF and picture in made:
            return picture, _FORMAT_OF[media]
        if media in _OUTPUT_OF and _OUTPUT_OF[media] in made:
            return _OUTPUT_OF[media], None
        if media == "*/*":
            return ("image" if count == 1 else "zip"), None
        if media == "application/*":
            return "json", None
    kinds = ", ".join(media for media in MEDIA.values() if _OUTPUT_OF.get(media, picture) in made)
    raise NotAcceptableError(f"Accept allows none of what can be made here: {kinds}.", where="accept")


def accepted(header: str) -> list[str]:
    """Media types of an Accept header, the most wanted first; types with q=0 are left out."""
    wanted = []
    for part in (header or "*/*").split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        if media and quality > 0:
            wanted.append((quality, media))
    return [media for _, media in sorted(wanted, key=lambda one: -one[0])]

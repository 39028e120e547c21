"""From pixels to the bytes of an answer, and the one rule of which bytes.

The rule, for every endpoint that answers images: a field (`output`, `format`) wins; where it is absent, the first
media type of the Accept header that can be made decides (of several images, an image type means a grid, where the
endpoint makes grids); where that leaves it open (`*/*`), one image is answered as itself and several as a zip, in PNG.
"""

import base64
import io
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

import models
from models.errors import InputError
from models.images import Pixels
from service import png
from service.errors import NotAcceptableError
from service.schemas import ImageFormat

Output = Literal["image", "grid", "zip", "npz", "json"]

MEDIA: Mapping[str, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "zip": "application/zip",
    "npz": "application/x-npz",
    "json": "application/json",
}
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


def encode(
    pixels: Pixels,
    kind: ImageFormat,
    quality: int = 90,
    text: Mapping[str, str] | None = None,
    icc: bytes | None = None,
) -> bytes:
    """One image file. PNGs are compressed lightly: at 64 px, zlib's usual level takes as long as the network."""
    if kind == "png":
        return png.encode(pixels, text, icc)
    return models.encode(pixels, kind, quality=quality, icc=icc)


def files(
    pixels: Iterable[Pixels], kind: ImageFormat, quality: int, texts: Sequence[Mapping[str, str]] | None = None
) -> list[bytes]:
    """Each image encoded; `texts` go into PNG's text chunks."""
    return [encode(one, kind, quality, texts[index] if texts else None) for index, one in enumerate(pixels)]


def zip_of(named: Mapping[str, bytes]) -> bytes:
    """A zip of files that are compressed already, with a fixed date, so that equal content is equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in named.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def npz_of(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A compressed .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")

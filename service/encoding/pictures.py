"""From pixels to the bytes of an answer, and the one rule of which bytes.

The rule, for every endpoint that answers images: a field (`output`, `format`) wins; where it is absent, the first
media type of the Accept header that can be made decides (of several images, an image type means a grid, where the
endpoint makes grids); where that leaves it open (`*/*`), one image is answered as itself and several as a zip, in PNG.
"""

import base64
import io
import zipfile
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import models
from models.images import Pixels
from service.encoding import png

ImageFormat = Literal["png", "jpeg", "webp"]
Item = TypeVar("Item")
Result = TypeVar("Result")

PARCEL = 1 << 20  # pixels between two chances to leave: tens of milliseconds of a PNG


async def each(
    beside: Callable[..., Awaitable[list[Result]]],
    function: Callable[[Item], Result],
    items: Sequence[Item],
    pixels: int,
) -> list[Result]:
    """[function(item) for item in items], beside the event loop, a parcel of about a million pixels at a time.

    A thread cannot be stopped. So a caller who is cancelled leaves after the parcel that is being worked on, and
    between parcels others have their turn.

    Args:
        beside: runs a function with its arguments on a pool of threads (`Core.encode`).
        pixels: of one item; larger ones than a parcel go one by one.
    """
    step = max(1, PARCEL // max(1, pixels))
    results: list[Result] = []
    for start in range(0, len(items), step):
        results += await beside(_all, function, items[start : start + step])
    return results


def _all(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


def animate(
    pixels: Pixels, kind: Literal["gif", "webp", "apng"], frame_ms: int, quality: int, text: Mapping[str, str]
) -> bytes:
    """An endless animation; `text` goes into an APNG."""
    images = [Image.fromarray(np.squeeze(one, 2) if one.shape[2] == 1 else one) for one in pixels]
    buffer = io.BytesIO()
    first, rest = images[0], images[1:]
    if kind == "gif":
        first.save(buffer, "GIF", save_all=True, append_images=rest, duration=frame_ms, loop=0, disposal=1)
    elif kind == "webp":
        first.save(buffer, "WEBP", save_all=True, append_images=rest, duration=frame_ms, loop=0, quality=quality)
    else:
        info = PngInfo()
        for key, value in text.items():
            info.add_text(key, value)
        first.save(buffer, "PNG", save_all=True, append_images=rest, duration=frame_ms, loop=0, pnginfo=info)
    return buffer.getvalue()


MEDIA: Mapping[str, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "zip": "application/zip",
    "npz": "application/x-npz",
    "json": "application/json",
}


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

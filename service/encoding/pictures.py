"""From pixels to the bytes of an answer: single images, animations."""

import base64
import io
import itertools
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import models
from models import Animation
from models.errors import InputError, LimitError
from models.images import Pixels
from models.origin import Origin
from service.encoding import png

ImageFormat = Literal["png", "jpeg", "webp", "avif"]


_LONGEST_MS = {"gif": 655_350, "apng": 65_535, "webp": 2**24 - 1}  # that a frame can last; equal ones become one


def animate(pixels: Pixels, kind: Animation, frame_ms: int, quality: int, origin: Origin) -> bytes:
    """An endless animation of frames that last `frame_ms` on average, and that says where it came from.

    GIF counts in hundredths of a second, so its frames last a little more or less, and all of them together what was
    asked.

    Raises InputError where equal frames, which become one, last longer than a frame of this kind can.
    """
    if _most_alike(pixels) * frame_ms > _LONGEST_MS[kind]:
        sentence = f"A frame of {kind} lasts {_LONGEST_MS[kind]:,} ms at most, and equal ones in a row become one."
        raise InputError(sentence, where="frame_ms")
    images = [Image.fromarray(np.squeeze(one, 2) if one.shape[2] == 1 else one) for one in pixels]
    buffer, xmp = io.BytesIO(), origin.packet()
    common: dict[str, Any] = {"save_all": True, "append_images": images[1:], "duration": frame_ms, "loop": 0}
    if kind == "gif":
        ends = [10 * (frame_ms * count // 10) for count in range(len(images) + 1)]
        durations = [end - start for start, end in itertools.pairwise(ends)]
        images[0].save(buffer, "GIF", **{**common, "duration": durations}, disposal=1)
        return origin.into_gif(buffer.getvalue())
    if kind == "webp":
        images[0].save(buffer, "WEBP", **common, quality=quality, xmp=xmp)
    else:
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        for key, value in origin.text.items():
            info.add_text(key, value)
        images[0].save(buffer, "PNG", **common, pnginfo=info)
    return buffer.getvalue()


def _most_alike(pixels: Pixels) -> int:
    """The most frames in a row that are the same."""
    longest = run = 1
    for one, other in itertools.pairwise(pixels):
        run = run + 1 if np.array_equal(one, other) else 1
        longest = max(longest, run)
    return longest


MEDIA: Mapping[str, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "avif": "image/avif",
    "zip": "application/zip",
    "npz": "application/x-npz",
    "json": "application/json",
}


def encode(
    pixels: Pixels,
    kind: ImageFormat,
    quality: int = 90,
    origin: Origin | None = None,
    icc: bytes | None = None,
) -> bytes:
    """One image file, which says where it came from: in XMP, and in a PNG's text chunks too (see `Writer`).

    PNGs are compressed lightly: at 64 px, zlib's usual level takes as long as the network.
    """
    xmp = origin.packet() if origin else None
    if kind == "png":
        return png.encode(pixels, origin.text if origin else None, icc, xmp)
    return models.encode(pixels, kind, quality=quality, icc=icc, xmp=xmp)


def resized(pixels: Pixels, size: tuple[int, int] | None) -> Pixels:
    """uint8 [h, w, c] in another size (width, height); None is its own."""
    if size is None or pixels.shape[1::-1] == size:
        return pixels
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    return pixels_of(image.resize(size, Image.Resampling.BICUBIC))


def pixels_of(image: Image.Image) -> Pixels:
    """An image of 8 bits a value as uint8 [h, w, c]."""
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def check_sheet(kind: ImageFormat, height: int, width: int) -> None:
    """Raises LimitError for one picture of many images that its format, or memory, has no room for."""
    models.check_sides(kind, height, width, "One picture of all", "format")
    if height * width > models.MAX_PIXELS:
        raise LimitError(
            f"One picture of all has {width:,} x {height:,} pixels, and at most {models.MAX_PIXELS:,} are made: "
            "ask for zip.",
            where="output",
        )


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")

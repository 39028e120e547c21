"""From pixels to the bytes of an answer: single images."""

import base64
from collections.abc import Mapping
from typing import Literal

import numpy as np
from PIL import Image

import models
from models.errors import LimitError
from models.images import Pixels
from models.origin import Origin
from service.encoding import png

ImageFormat = Literal["png", "jpeg", "webp", "avif"]


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

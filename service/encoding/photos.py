"""An uploaded photo becomes pixels: sRGB, upright, its alpha apart."""

import functools
import hashlib
import io
import struct
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

import models
from models.images import Pixels
from service.call import File

# The modes of `models.plain` that a profile of a colour space can be about.
_MODES = {"RGB": ("RGB", "RGBA"), "GRAY": ("L", "LA"), "CMYK": ("CMYK",)}


@dataclass(frozen=True)
class Photo:
    """A decoded upload.

    Attributes:
        pixels: uint8 [h, w, 3] (or 1, for a grey model), upright, in sRGB.
        alpha: uint8 [h, w], or None.
        profiled: it came with a colour profile, so the answer carries sRGB's.
        digest: SHA-256 of the upload, as hexadecimal digits.
    """

    name: str
    pixels: Pixels
    alpha: Pixels | None
    profiled: bool
    digest: str


@dataclass(frozen=True)
class Header:
    """What an upload says of itself before it is decoded."""

    name: str
    height: int
    width: int


def read_header(file: File, most: int) -> Header:
    """Raises what `models.opened` does before anything is decoded, naming the file; `most` is in pixels."""
    with models.opened(file.read(), name=file.name[:100], max_pixels=most) as image:
        return Header(file.name[:100], image.height, image.width)


def read_photo(file: File, most: int, channels: int) -> Photo:
    """Decodes an upload. Raises what `models.decode` does, naming the file; `most` is in pixels."""
    name, data = file.name[:100], file.read()
    image = models.decode(data, name=name, max_pixels=most)
    profile = image.info.get("icc_profile")
    image = models.upright(image)
    rgb, alpha = models.split_alpha(image)
    rgb = _to_srgb(image, rgb, profile) if profile else rgb
    pixels = np.asarray(rgb) if channels == 3 else np.asarray(rgb.convert("L"))[..., None]
    digest = hashlib.sha256(data).hexdigest()
    return Photo(name, pixels, None if alpha is None else np.asarray(alpha), bool(profile), digest)


def _to_srgb(image: Image.Image, rgb: Image.Image, profile: bytes) -> Image.Image:
    """Networks saw sRGB, so what a profile says of an image's colour, grey or ink is converted.

    A profile that cannot be read, or is of another kind than the pixels, is as good as none.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if image.mode not in _MODES.get(source.profile.xcolor_space.strip(), ()):
            return rgb
        pixels = {"L": rgb.convert("L"), "CMYK": image}.get(image.mode.removesuffix("A"), rgb)
        return ImageCms.profileToProfile(pixels, source, ImageCms.createProfile("sRGB"), outputMode="RGB") or rgb
    except Exception:  # a profile is a file of its own, and may not even be bytes; it says nothing about the pixels
        return rgb


@functools.cache
def srgb() -> bytes:
    """An sRGB profile without its time of making (bytes 24 to 36), so that equal requests give equal bytes."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[36:]

"""An uploaded photo becomes pixels: sRGB, upright, its alpha apart."""

import functools
import hashlib
import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

import models
from models.images import Pixels
from service.call import File
from service.encoding.videos import read_film, read_film_frames, video_of

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
    """What an upload says of itself before it is decoded; `motion` where its picture moves, maybe with sound."""

    name: str
    height: int
    width: int
    motion: models.Motion | None = None
    has_sound: bool = False


def read_header(file: File, most: int) -> Header:
    """Raises what `models.opened` does before anything is decoded, naming the file; `most` is in pixels."""
    with models.opened(file.read(), name=file.name[:100], max_pixels=most) as image:
        return Header(file.name[:100], image.height, image.width, models.motion(image))


def read_clip_header(file: File, most: int) -> Header:
    """The same, of a video too, for `read_frames`; of that raises what `read_film` does."""
    data, name = file.read(), file.name[:100]
    if (kind := video_of(data[: models.HEAD])) is None:
        return read_header(file, most)
    film = read_film(data, kind, name, most)
    return Header(name, film.height, film.width, film.motion, film.has_sound)


def read_photo(file: File, most: int, channels: int) -> Photo:
    """Decodes an upload. Raises what `models.decode` does, naming the file; `most` is in pixels."""
    name, data = file.name[:100], file.read()
    image = models.decode(data, name=name, max_pixels=most)
    return _photo(name, image, channels, hashlib.sha256(data).hexdigest())


def read_frames(file: File, most: int, channels: int) -> Iterator[tuple[Photo, float]]:
    """The frames of an upload, one by one, each with the milliseconds that it is shown.

    Raises as `models.frames` does, and of a video as `read_film_frames`.
    """
    name, data = file.name[:100], file.read()
    digest = hashlib.sha256(data).hexdigest()
    if (kind := video_of(data[: models.HEAD])) is not None:
        for pixels, duration_ms in read_film_frames(data, kind, name, most):
            colour = pixels if channels == 3 else np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
            yield Photo(name, colour, None, False, digest), duration_ms
        return
    for frame in models.frames(data, name=name, max_pixels=most):
        yield _photo(name, frame.image, channels, digest), frame.duration_ms


def _photo(name: str, image: Image.Image, channels: int, digest: str) -> Photo:
    profile = image.info.get("icc_profile")
    image = models.upright(image)
    rgb, alpha = models.split_alpha(image)
    rgb = _to_srgb(image, rgb, profile) if profile else rgb
    pixels = np.asarray(rgb) if channels == 3 else np.asarray(rgb.convert("L"))[..., None]
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

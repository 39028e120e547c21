"""Images and the one place that knows their ranges.

Two forms exist, and only the functions here turn one into the other:

    pixels     numpy uint8 [n, h, w, c], 0..255, as decoders and encoders have them
    activations  torch float32 [n, c, h, w], -1..1, as the networks have them (DCGAN's tanh)

Files enter through decoding.py, and leave by `encode`.
"""

import io
import math
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, PngImagePlugin

from models.errors import ImageError, InputError, LimitError

Pixels = npt.NDArray[np.uint8]
Format = Literal["png", "jpeg", "webp", "avif"]

SIDES: Mapping[str, int] = {
    "png": 2**31 - 1,
    "jpeg": 65_500,
    "webp": 16_383,
    "gif": 65_535,
    "avif": 32_768,
    "mp4": 16_384,
    "webm": 16_384,
}
"""The longest side of a picture, in pixels, that a format (JPEG: its library) has room for."""
FORMAT_NAMES = {
    "png": "PNG",
    "jpeg": "JPEG",
    "webp": "WebP",
    "gif": "GIF",
    "avif": "AVIF",
    "mp4": "MP4",
    "webm": "WebM",
}
"""What people call them."""
_PLAIN = ("L", "LA", "RGB", "RGBA", "CMYK")


def to_float(pixels: Pixels) -> torch.Tensor:
    """uint8 [n, h, w, c] in 0..255 -> float32 [n, c, h, w] in [-1, 1]: x / 127.5 - 1."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def to_uint8(activations: torch.Tensor) -> Pixels:
    """float [n, c, h, w] in [-1, 1] -> uint8 [n, h, w, c], rounded to nearest; values outside are clamped."""
    pixels = activations.detach().float().add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def plain(image: Image.Image) -> Image.Image:
    """Any image with 8 bits a value, in mode L, LA, RGB, RGBA or CMYK.

    Palettes, bilevel images, transparent colours and other colour spaces are converted as Pillow does; 16-bit grey is
    scaled (65535 -> 255), where Pillow alone would clip it to white.

    Raises:
        ImageError: floats, whose range no file tells (Pillow would make 0 to 1 black), and what Pillow cannot convert.
    """
    if image.mode in _PLAIN and "transparency" not in image.info:
        return image
    if image.mode == "F":
        raise ImageError("Images of floating point pixels are not accepted, for want of a range; save 8 or 16 bits.")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _eight_bits(image)
    try:
        if image.mode in ("La", "RGBa"):
            return image.convert(image.mode.upper())
        mode = "L" if image.mode in ("1", "L") else "RGB"
        return image.convert(f"{mode}A" if image.has_transparency_data else mode)
    except ValueError as error:
        raise ImageError(f"Images of mode {image.mode} are not accepted; send RGB or grey.") from error


def _eight_bits(image: Image.Image) -> Image.Image:
    levels = np.asarray(image).clip(0, 65535)
    grey = Image.fromarray(np.rint(np.arange(65536) / 257).astype(np.uint8)[levels])
    if isinstance(key := image.info.get("transparency"), int):
        grey = Image.merge("LA", (grey, Image.fromarray(np.where(levels == key, 0, 255).astype(np.uint8))))
    grey.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return grey


def to_rgb(image: Image.Image) -> Image.Image:
    """Any image as 8-bit RGB, in the one way that training, metrics and service share.

    As `plain` has it; alpha is dropped, not blended, as pytorch-fid does.
    """
    return plain(image).convert("RGB")


def split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """(RGB, alpha as 8-bit grey or None); a palette's or a grey image's transparent colour counts as alpha."""
    image = plain(image)
    return image.convert("RGB"), image.getchannel("A") if image.mode.endswith("A") else None


def centre_square(image: Image.Image, size: int, channels: int) -> Pixels:
    """A photo as generators are trained on it, uint8 [size, size, channels].

    The largest square about its centre is scaled by Lanczos' filter; it becomes grey where `channels` is 1.
    """
    image = to_rgb(image)
    image = image.convert("L") if channels == 1 else image
    if image.size != (size, size):
        width, height = image.size
        side = min(image.size)
        left, top = (width - side) / 2, (height - side) / 2
        image = image.resize((size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    return np.asarray(image).reshape(size, size, channels)


def as_pixels(image: Image.Image) -> Pixels:
    """One RGB image as uint8 [h, w, 3]."""
    return np.asarray(to_rgb(image))


def check_sides(kind: str, height: int, width: int, name: str = "The image", where: str | None = None) -> None:
    """Raises LimitError for what the format `kind` has no room for; told before a picture is made, it costs nothing."""
    if max(height, width) > SIDES[kind]:
        raise LimitError(
            f"{name} has {width} x {height} pixels, and {FORMAT_NAMES[kind]} holds {SIDES[kind]:,} a side: "
            "ask for png.",
            where=where,
        )


def encode(
    pixels: Pixels,
    kind: Format = "png",
    *,
    quality: int = 90,
    compression: int = 6,
    text: Mapping[str, str] | None = None,
    icc: bytes | None = None,
    xmp: bytes | None = None,
) -> bytes:
    """Encodes uint8 [h, w, c], c = 1 (grey), 3 (RGB) or 4 (RGBA).

    Args:
        quality: 1..100 for JPEG, WebP and AVIF; PNG is lossless.
        compression: zlib's level for PNG, 0..9; 1 takes a fifth of 6's time, and a fifth more bytes.
        text: PNG text chunks; the other formats have no place for them and leave them out.
        icc: colour profile to embed.
        xmp: XMP packet to embed, of at most 65,502 bytes in a JPEG.
    Raises:
        InputError: alpha asked of JPEG, or a shape or format that is none of these.
        LimitError: a side longer than the format has room for.
    """
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise InputError(f"An image to encode is uint8 [h, w, 1, 3 or 4], not {list(pixels.shape)}.")
    if kind not in get_args(Format):
        raise InputError(f"Unknown image format {kind!r}: use png, jpeg, webp or avif.")
    check_sides(kind, *pixels.shape[:2])
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    buffer = io.BytesIO()
    if kind == "png":
        chunks = PngImagePlugin.PngInfo()
        for key, value in (text or {}).items():
            chunks.add_itxt(key, value) if not value.isascii() else chunks.add_text(key, value)
        if xmp:
            chunks.add_itxt("XML:com.adobe.xmp", xmp.decode())
        image.save(buffer, "PNG", pnginfo=chunks, icc_profile=icc, compress_level=compression)
    elif kind == "jpeg":
        if pixels.shape[2] == 4:
            raise InputError("JPEG has no alpha channel: ask for png, webp or avif.")
        image.save(buffer, "JPEG", quality=quality, icc_profile=icc, xmp=xmp or b"")
    elif kind == "webp":
        image.save(buffer, "WEBP", quality=quality, icc_profile=icc, xmp=xmp or b"")
    else:  # libavif's fastest speed takes as long as WebP; its usual one five times that
        image.save(buffer, "AVIF", quality=quality, speed=10, icc_profile=icc, xmp=xmp or b"")
    return buffer.getvalue()


def grid_size(count: int, height: int, width: int, columns: int | None = None, padding: int = 2) -> tuple[int, int]:
    """(height, width) of the sheet that `grid` makes of `count` images [height, width]."""
    columns = columns or math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    return rows * (height + padding) + padding, columns * (width + padding) + padding


def grid(pixels: Pixels, columns: int | None = None, padding: int = 2) -> Pixels:
    """Lays uint8 [n, h, w, c] out on one black sheet, row by row; by default as square as n allows."""
    count, height, width, channels = pixels.shape
    columns = columns or math.ceil(math.sqrt(count))
    sheet = np.zeros((*grid_size(count, height, width, columns, padding), channels), np.uint8)
    for index, picture in enumerate(pixels):
        top = padding + index // columns * (height + padding)
        left = padding + index % columns * (width + padding)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def pad_to_stride(images: torch.Tensor, stride: int, minimum: int = 0) -> tuple[torch.Tensor, tuple[int, int]]:
    """Pads [n, c, h, w] right and below until both sides are multiples of `stride` and at least `minimum`.

    Reflects where the image is large enough, repeats its border where it is not. Returns the padded images and
    (h, w) for `crop`, so that a translator gives back the size it was given.
    """
    height, width = images.shape[-2:]
    target_h, target_w = (-(-max(side, minimum, 1) // stride) * stride for side in (height, width))
    down, right = target_h - height, target_w - width
    if not down and not right:
        return images, (height, width)
    mode = "reflect" if down < height and right < width else "replicate"
    return torch.nn.functional.pad(images, (0, right, 0, down), mode=mode), (height, width)


def crop(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Undoes `pad_to_stride`: the top left (h, w) of [n, c, H, W]."""
    return images[..., : size[0], : size[1]]

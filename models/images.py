"""Images and the one place that knows their ranges.

Two forms exist, and only the functions here turn one into the other:

    pixels     numpy uint8 [n, h, w, c], 0..255, as decoders and encoders have them
    activations  torch float32 [n, c, h, w], -1..1, as the networks have them (DCGAN's tanh)

Files and uploads enter through `decode`, which raises one of our errors for anything that is not a whole image
within the limits, whatever Pillow's decoders do with it.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from models.errors import BrokenImageError, ImageError, InputError, LimitError

Pixels = npt.NDArray[np.uint8]
Format = Literal["png", "jpeg", "webp"]

ACCEPTED = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
MAX_PIXELS = 50_000_000

# `decode` checks the size itself, before any pixel is decoded. Pillow's own check is a warning, and turning it into
# an error per call would need `warnings.catch_warnings`, which is not safe in threads.
Image.MAX_IMAGE_PIXELS = None


def to_float(pixels: Pixels) -> torch.Tensor:
    """uint8 [n, h, w, c] in 0..255 -> float32 [n, c, h, w] in [-1, 1]: x / 127.5 - 1."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def to_uint8(activations: torch.Tensor) -> Pixels:
    """float [n, c, h, w] in [-1, 1] -> uint8 [n, h, w, c], rounded to nearest; values outside are clamped."""
    pixels = activations.detach().float().add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def decode(
    source: bytes | Path,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    formats: tuple[str, ...] = ACCEPTED,
) -> Image.Image:
    """Decodes one image wholly; of an animation, the first frame. EXIF rotation is not applied (see `upright`).

    Args:
        source: the file's bytes, or its path.
        name: what to call it in an error; by default the path's name, or "image".
        max_pixels: width x height, checked on the header before anything is decoded.
        formats: Pillow format names to accept.
    Raises:
        ImageError: empty, or of no accepted kind.  BrokenImageError: truncated or corrupt.
        LimitError: more than `max_pixels`.  OSError: the path cannot be read.
    """
    name = name or (source.name if isinstance(source, Path) else "image")
    data = source.read_bytes() if isinstance(source, Path) else source
    if not data:
        raise ImageError(f"{name} is empty (0 bytes): send a whole image file.", where=name)
    kinds = ", ".join(formats)
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not an image of an accepted kind ({kinds}).", where=name) from error
    except Exception as error:  # whatever a decoder stumbles over is the file's fault
        raise BrokenImageError(f"{name} has a corrupt header: {error}.", where=name) from error
    if image.width * image.height > max_pixels:
        raise LimitError(
            f"{name} has {image.width} x {image.height} pixels; at most {max_pixels:,} are accepted.",
            where=name,
        )
    try:
        image.load()
    except Exception as error:
        raise BrokenImageError(f"{name} is truncated or corrupt: {error}.", where=name) from error
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """Any image as 8-bit RGB, in the one way that training, metrics and service share.

    Grey, palette, bilevel and CMYK are converted as Pillow does; alpha is dropped, not blended, as pytorch-fid
    does; 16-bit grey is scaled (65535 -> 255), where Pillow alone would clip it to white.

    Raises:
        ImageError: floats, whose range no file tells (Pillow would make 0 to 1 black), and what Pillow cannot convert.
    """
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        raise ImageError("Images of floating point pixels are not accepted, for want of a range; save 8 or 16 bits.")
    if image.mode in ("I", "I;16", "I;16L", "I;16B", "I;16N"):
        levels = np.asarray(image).astype(np.float64).clip(0, 65535) / 257.0
        return Image.fromarray(levels.round().astype(np.uint8)).convert("RGB")
    if image.mode in ("P", "PA") and ("transparency" in image.info or image.mode == "PA"):
        image = image.convert("RGBA")
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise ImageError(f"Images of mode {image.mode} are not accepted; send RGB or grey.") from error


def split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """(RGB, alpha as 8-bit grey or None); a palette's or a grey image's transparent colour counts as alpha."""
    if image.mode.startswith("I") or not image.has_transparency_data:
        return to_rgb(image), None
    rgba = image.convert("RGBA")
    return rgba.convert("RGB"), rgba.getchannel("A")


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says; one whose EXIF cannot be read stays as it is."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # EXIF is a small file format of its own; its errors say nothing about the pixels
        return image


def as_pixels(image: Image.Image) -> Pixels:
    """One RGB image as uint8 [h, w, 3]."""
    return np.asarray(to_rgb(image))


def encode(
    pixels: Pixels,
    kind: Format = "png",
    *,
    quality: int = 90,
    compression: int = 6,
    text: Mapping[str, str] | None = None,
    icc: bytes | None = None,
) -> bytes:
    """Encodes uint8 [h, w, c], c = 1 (grey), 3 (RGB) or 4 (RGBA).

    Args:
        quality: 1..100 for JPEG and WebP; PNG is lossless.
        compression: zlib's level for PNG, 0..9; 1 takes a fifth of 6's time, and a fifth more bytes.
        text: PNG text chunks; the other formats have no place for them and leave them out.
        icc: colour profile to embed.
    Raises:
        InputError: alpha asked of JPEG, or a shape or format that is none of these.
    """
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise InputError(f"An image to encode is uint8 [h, w, 1, 3 or 4], not {list(pixels.shape)}.")
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    buffer = io.BytesIO()
    if kind == "png":
        chunks = PngImagePlugin.PngInfo()
        for key, value in (text or {}).items():
            chunks.add_itxt(key, value) if not value.isascii() else chunks.add_text(key, value)
        image.save(buffer, "PNG", pnginfo=chunks, icc_profile=icc, compress_level=compression)
    elif kind == "jpeg":
        if pixels.shape[2] == 4:
            raise InputError("JPEG has no alpha channel: ask for png or webp.")
        image.save(buffer, "JPEG", quality=quality, icc_profile=icc)
    elif kind == "webp":
        image.save(buffer, "WEBP", quality=quality, icc_profile=icc)
    else:
        raise InputError(f"Unknown image format {kind!r}: use png, jpeg or webp.")
    return buffer.getvalue()


def read_text(data: bytes) -> dict[str, str]:
    """The text chunks of a PNG; raises as `decode` does for anything else."""
    image = decode(data, formats=("PNG",))
    return {str(key): str(value) for key, value in getattr(image, "text", {}).items()}


def grid(pixels: Pixels, columns: int | None = None, padding: int = 2) -> Pixels:
    """Lays uint8 [n, h, w, c] out on one black sheet, row by row; by default as square as n allows."""
    count, height, width, channels = pixels.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    sheet = np.zeros((rows * (height + padding) + padding, columns * (width + padding) + padding, channels), np.uint8)
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

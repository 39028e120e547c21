"""Images: ranges, decoding of everything that people upload, padding and back."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import models
from models import BrokenImageError, ImageError, InputError, LimitError

HORSE = Path("tests/fixtures/horse2zebra/testA")


def as_bytes(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def horse() -> Image.Image:
    return Image.open(sorted(HORSE.iterdir())[0]).convert("RGB")


def test_pixels_survive_the_round_trip_to_activations() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    activations = models.to_float(pixels)
    assert activations.shape == (1, 1, 16, 16)
    assert (activations.min(), activations.max()) == (-1.0, 1.0)
    assert np.array_equal(models.to_uint8(activations), pixels)


def test_activations_outside_the_range_are_clamped_and_rounded() -> None:
    values = torch.tensor([-9.0, -1.0, -0.9965, 0.0, 0.9999, 1.0, 9.0]).view(1, 1, 1, 7)
    assert models.to_uint8(values).ravel().tolist() == [0, 0, 0, 128, 255, 255, 255]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_every_accepted_kind_decodes(horse: Image.Image, kind: str) -> None:
    image = models.to_rgb(models.decode(as_bytes(horse, kind)))
    assert (image.mode, image.size) == ("RGB", horse.size)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_common_mode_becomes_rgb_as_pillow_has_it(horse: Image.Image, mode: str) -> None:
    kind = "TIFF" if mode == "CMYK" else "PNG"
    data = as_bytes(horse.convert(mode), kind)
    assert np.array_equal(
        models.as_pixels(models.decode(data)), np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    )


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    levels = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    data = as_bytes(Image.fromarray(levels), "PNG")
    assert models.as_pixels(models.decode(data))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_floats_are_refused() -> None:
    data = as_bytes(Image.new("F", (2, 2)), "TIFF")
    with pytest.raises(ImageError, match="not accepted"):
        models.as_pixels(models.decode(data))


def test_transparent_palette_gives_its_alpha() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((1, 0), 1)
    image = models.decode(as_bytes(palette, "PNG", transparency=bytes([255, 10])))
    rgb, alpha = models.split_alpha(image)
    assert np.asarray(rgb).tolist() == [[[255, 0, 0], [0, 255, 0]]]
    assert alpha is not None
    assert np.asarray(alpha).tolist() == [[255, 10]]
    assert models.split_alpha(Image.new("RGB", (1, 1)))[1] is None


def test_exif_rotation_is_applied_on_request_only(horse: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = models.decode(as_bytes(horse.crop((0, 0, 64, 32)), "JPEG", exif=exif))
    assert image.size == (64, 32)
    assert models.upright(image).size == (32, 64)


def test_truncated_files_are_broken_images(horse: Image.Image) -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        data = as_bytes(horse, kind)
        with pytest.raises(ImageError, match="photo"):
            models.decode(data[: len(data) // 2], name="photo")


def test_a_wrong_checksum_is_a_broken_image(horse: Image.Image) -> None:
    data = bytearray(as_bytes(horse, "PNG"))
    data[data.index(b"IDAT") + 40] ^= 0xFF
    with pytest.raises(BrokenImageError, match="truncated or corrupt"):
        models.decode(bytes(data))


@pytest.mark.parametrize("data", [b"hello", b"%PDF-1.7 ...", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_what_is_no_image_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(ImageError, match="not an image of an accepted kind"):
        models.decode(data)


def test_an_empty_file_is_said_to_be_empty() -> None:
    with pytest.raises(ImageError, match="0 bytes"):
        models.decode(b"")


def test_a_bomb_is_refused_from_its_header() -> None:
    """A PNG of 60,000 x 60,000 black pixels whose data never has to be looked at."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    with pytest.raises(LimitError, match="60000 x 60000"):
        models.decode(data)


@given(st.binary(max_size=200))
def test_no_bytes_escape_the_exception_tree(data: bytes) -> None:
    for head in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF....WEBP", b"BM", b"II*\0"):
        with pytest.raises(ImageError):
            models.decode(head + data)


def test_png_text_comes_back_whole() -> None:
    data = models.encode(np.zeros((2, 2, 3), np.uint8), text={"seed": "7", "name": "größer"})
    assert models.read_text(data) == {"seed": "7", "name": "größer"}


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_encoded_images_decode_to_themselves(kind: models.images.Format, channels: int) -> None:
    pixels = np.tile(np.linspace(0, 255, 32, dtype=np.uint8)[None, :, None], (32, 1, channels))
    image = models.decode(models.encode(pixels, kind, quality=95))
    error = np.abs(np.asarray(image.convert("RGB")).astype(int) - pixels)
    assert error.max() <= (0 if kind == "png" else 6)


def test_jpeg_has_no_alpha() -> None:
    with pytest.raises(InputError, match="alpha"):
        models.encode(np.zeros((2, 2, 4), np.uint8), "jpeg")


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 4, 8]), st.sampled_from([0, 8]))
def test_padding_reaches_the_stride_and_crop_undoes_it(height: int, width: int, stride: int, minimum: int) -> None:
    images = torch.rand(1, 3, height, width)
    padded, size = models.pad_to_stride(images, stride, minimum)
    for before, after in zip(images.shape[2:], padded.shape[2:], strict=True):
        assert after % stride == 0
        assert after >= max(minimum, before)
        assert after < max(minimum, before) + stride
    assert torch.equal(models.crop(padded, size), images)


def test_padding_reflects() -> None:
    row = torch.arange(6.0).view(1, 1, 1, 6)
    padded, _ = models.pad_to_stride(row.expand(1, 1, 6, 6), 4)
    assert padded[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 4, 3]


def test_grid_places_every_image() -> None:
    pixels = np.stack([np.full((2, 3, 3), value, np.uint8) for value in (10, 20, 30)])
    sheet = models.grid(pixels, columns=2, padding=1)
    assert sheet.shape == (7, 9, 3)
    assert [int(sheet[1, 1, 0]), int(sheet[1, 5, 0]), int(sheet[4, 1, 0]), int(sheet[4, 5, 0])] == [10, 20, 30, 0]

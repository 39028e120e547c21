"""Images: ranges, decoding of everything that people upload, padding and back."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import models
from models import InputError, LimitError

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


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
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


def test_what_a_format_has_no_room_for_is_said() -> None:
    for kind, side in (("webp", 16_383), ("jpeg", 65_500), ("avif", 32_768)):
        assert models.decode(models.encode(np.zeros((1, side, 3), np.uint8), kind)).width == side  # type: ignore[arg-type]
        with pytest.raises(LimitError, match=f"{side + 1} pixels, and .* holds {side:,} a side: ask for png"):
            models.encode(np.zeros((side + 1, 1, 3), np.uint8), kind)  # type: ignore[arg-type]


def test_the_size_of_a_grid_is_known_before_it_is_made() -> None:
    for count, columns in ((1, None), (7, None), (7, 7), (9, 2)):
        sheet = models.grid(np.zeros((count, 3, 5, 1), np.uint8), columns, padding=1)
        assert sheet.shape[:2] == models.grid_size(count, 3, 5, columns, padding=1)

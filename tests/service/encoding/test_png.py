"""The PNG writer, read back by Pillow, which checks every chunk's checksum."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

import models
from models.errors import InputError
from service.encoding import pictures, png


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (64, 64), (33, 50)])
@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_pillow_reads_the_same_pixels(size: tuple[int, int], channels: int, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, channels), dtype=np.uint8)
    image = Image.open(io.BytesIO(png.encode(pixels)), formats=("PNG",))
    assert (image.mode, image.size) == (mode, size[::-1])
    np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)


def test_text_and_colour_profile_come_back() -> None:
    text = {"gan.model": "dcgan", "gan.class": "Zèbre 斑马", "gan.seed": "7"}
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = png.encode(np.zeros((4, 4, 3), np.uint8), text, icc)
    assert models.read_text(data) == text
    image = Image.open(io.BytesIO(data))
    image.verify()
    assert image.info["icc_profile"] == icc


def test_a_picture_takes_no_more_bytes_than_pillows_lightest() -> None:
    rows, columns = np.mgrid[0:128, 0:128] / 128
    smooth = np.stack([rows, columns, rows * columns], -1) * 200 + np.random.default_rng(0).normal(0, 2, (128, 128, 3))
    pixels = smooth.clip(0, 255).astype(np.uint8)
    assert len(png.encode(pixels)) <= 1.05 * len(models.encode(pixels, compression=1))


def test_parts_of_a_batch_and_turned_images_are_written_as_they_look() -> None:
    batch = np.random.default_rng(0).integers(0, 256, (3, 8, 6, 3), dtype=np.uint8)
    for view in (batch[1], batch[2][:, ::-1], batch[0].transpose(1, 0, 2)):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(pictures.encode(view, "png")))), view)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 2), (0, 4, 3), (4, 0, 3)])
def test_what_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="An image to encode"):
        png.encode(np.zeros(shape, np.uint8))

"""A small picture of what a job has made so far. It travels with the progress, wherever the job runs."""

import base64

import numpy as np
from PIL import Image
from pydantic import BaseModel, Field

import models
from models.images import Pixels

_SIDE = 256  # pixels: some 10 kB, which a queue's server can be told every second


class JobPreview(BaseModel):
    """A small picture of what a job has made so far."""

    number: int = Field(description="How many there were, this one included.")
    media_type: str
    width: int
    height: int
    data: str = Field(description="The image file, base64.")


def sketch(pixels: Pixels) -> Pixels:
    """Every k-th row and column of uint8 [h, w, c], at most twice a preview's sides: a copy that takes no time."""
    step = max(1, max(pixels.shape[:2]) // (2 * _SIDE))
    return pixels[::step, ::step].copy()


def preview(number: int, pixels: Pixels) -> JobPreview:
    """The picture uint8 [h, w, 1 or 3] at no more than 256 pixels a side."""
    image = Image.fromarray(np.squeeze(pixels, 2) if pixels.shape[2] == 1 else pixels)
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    small = np.asarray(image)
    file = models.encode(small if small.ndim == 3 else small[..., None], "jpeg", quality=80)
    return JobPreview(
        number=number,
        media_type="image/jpeg",
        width=image.width,
        height=image.height,
        data=base64.b64encode(file).decode("ascii"),
    )

"""Photos on their way into a generator's latent space: cut and scaled as for training, and encoded."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

import models
from models.errors import InputError
from models.images import Pixels
from service.call import Call, File
from service.encoding.photos import Header, read_header, read_photo
from service.engine import patience
from service.engine.batcher import Flow
from service.engine.sampler import Sampler
from service.registry.checkpoints import Served
from service.runtime import Runtime


@dataclass(frozen=True)
class Squares:
    """Photos as a generator was trained on them, uint8 [n, s, s, c], and what they are called."""

    names: tuple[str, ...]
    pixels: Pixels


Looked = Sequence[tuple[File, Header]]
"""Photos whose headers are read."""


async def looked_at(runtime: Runtime, call: Call, files: Sequence[File]) -> Looked:
    """Raises what `models.opened` does before anything is decoded, and LimitError, as for translation."""
    headers = await runtime.each(call, functools.partial(read_header, most=runtime.most_pixels(call)), files)
    return list(zip(files, headers, strict=True))


async def squares(runtime: Runtime, call: Call, unit: Sampler, photos: Looked) -> Squares:
    """Decodes photos one after the other, of which only the squares are kept. Raises what `models.decode` does."""
    cut = functools.partial(_square, network=unit.network, most=runtime.most_pixels(call))
    found = []
    for file, header in photos:
        async with runtime.decoded.hold(header.height * header.width):
            found.append(await runtime.beside_the_loop(call, cut, file))
    return Squares(tuple(header.name for _, header in photos), np.stack(found))


def _square(file: File, network: models.Generator, most: int) -> Pixels:
    pixels = read_photo(file, most, network.channels).pixels
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    return models.centre_square(image, network.image_size, network.channels)


async def codes(runtime: Runtime, call: Call, served: Served[Sampler], photos: Looked) -> torch.Tensor:
    """The photos' codes, float32 [n, code]. Raises as `squares` does, and InputError for a model without an encoder."""
    check_encodes(served)
    found = await squares(runtime, call, served.unit, photos)
    return await encoded(call, served.unit, found)


async def encoded(call: Call, unit: Sampler, found: Squares) -> torch.Tensor:
    """The same, of squares; a job waits for room."""
    return await patience.let_in(call, functools.partial(unit.codes, found.pixels, Flow(patient=call.is_job)))


def check_encodes(served: Served[Sampler]) -> None:
    """Raises InputError for a model without an encoder."""
    if not served.unit.encodes:
        raise InputError(
            f"{served.id} has no encoder. POST /v1/jobs/encode looks for the latents of photos, which takes longer "
            "than a request; what it answers can be given as latents.",
            where="model",
        )

"""Making many images for jobs and scores without getting in the way of requests."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import numpy as np

import models
from metrics import Images, Loader
from models.errors import OverloadError
from models.images import Pixels
from service.classes import class_weights, default_classes
from service.engine import Latents, Sampler


async def images(unit: Sampler, rows: Latents, progress: Callable[[int, int], None] | None) -> Pixels:
    """Latents [n, latent] -> uint8 [n, h, w, c]; at once for a request, patiently for a job (with `progress`)."""
    return await unit.images(rows) if progress is None else await draw(unit, rows, progress)


async def draw(unit: Sampler, rows: Latents, progress: Callable[[int, int], None]) -> Pixels:
    """Latents [n, latent] -> uint8 [n, h, w, c], one batch after the other: requests are served in between.

    Raises InputError as `Sampler.images` does; a full queue is waited for.
    """
    unit.check(rows)
    total, step = len(rows.latents), unit.batcher.max_size
    parts: list[Pixels] = []
    progress(0, total)
    for start in range(0, total, step):
        classes = None if rows.classes is None else rows.classes[start : start + step]
        part = Latents(rows.latents[start : start + step], classes)
        parts.append(await patiently(partial(unit.images, part)))
        progress(start + len(parts[-1]), total)
    return np.concatenate(parts)


async def patiently(make: Callable[[], Awaitable[Pixels]]) -> Pixels:
    """What `make` gives; where the queue is full, again when there should be room."""
    while True:
        try:
            return await make()
        except OverloadError as error:
            await asyncio.sleep(max(error.retry_after_s, 0.1))


def stream(
    unit: Sampler, name: str, count: int, seed: int, truncation: float | None, loop: asyncio.AbstractEventLoop
) -> Images:
    """What a generator draws for seeds seed, seed + 1, ..., for metrics/ to read on another thread.

    They are the pixels that POST /v1/sample answers, as RGB; so the classes of a conditional model take turns.

    Args:
        loop: the event loop that the batcher lives on.
    """
    network, step = unit.network, unit.batcher.max_size
    seeds = models.sample_seeds(seed, count)

    def loaders() -> Iterator[Loader]:
        for start in range(0, count, step):
            few = seeds[start : start + step]
            classes = class_weights(network, default_classes(network, few), len(few))
            rows = Latents(models.draw(few, network.latent_size, truncation=truncation), classes)
            pixels = asyncio.run_coroutine_threadsafe(patiently(partial(unit.images, rows)), loop).result()
            for picture in pixels:
                yield partial(_as_rgb, picture)

    return Images(f"{name}, {count} samples from seed {seed}", count, loaders)


def _as_rgb(picture: Pixels) -> Pixels:
    return picture.repeat(3, axis=2) if picture.shape[2] == 1 else picture

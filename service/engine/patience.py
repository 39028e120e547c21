"""Making many images for jobs and scores without getting in the way of requests."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import numpy as np

from models.errors import OverloadError
from models.images import Pixels
from service.call import Progress, Show
from service.engine.batcher import Flow
from service.engine.sampler import Latents, Sampler


async def images(unit: Sampler, rows: Latents, progress: Progress | None, show: Show) -> Pixels:
    """Latents [n, latent] -> uint8 [n, h, w, c]; at once for a request, patiently for a job (with `progress`)."""
    return await unit.images(rows) if progress is None else await draw(unit, rows, progress, show)


async def draw(unit: Sampler, rows: Latents, progress: Progress, show: Show) -> Pixels:
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
        parts.append(await patiently(partial(unit.images, part, Flow(patient=True))))
        show(parts[-1][-1])
        progress(start + len(parts[-1]), total)
    return np.concatenate(parts)


async def patiently(make: Callable[[], Awaitable[Pixels]]) -> Pixels:
    """What `make` gives; where the queue is full, again when there should be room."""
    while True:
        try:
            return await make()
        except OverloadError as error:
            await asyncio.sleep(max(error.retry_after_s, 0.1))

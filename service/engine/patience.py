"""Making many images for jobs and scores without getting in the way of requests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TypeVar

import numpy as np

from models.errors import OverloadError
from models.images import Pixels
from service.call import Call, Progress, Show
from service.engine.batcher import Flow
from service.engine.sampler import Latents, Sampler

Result = TypeVar("Result")


async def images(unit: Sampler, rows: Latents, progress: Progress | None, show: Show) -> Pixels:
    """Latents [n, latent] -> uint8 [n, h, w, c]. Raises as `parts` does."""
    pixels = [part async for part in parts(unit, rows, progress, show)]
    return pixels[0] if len(pixels) == 1 else await asyncio.to_thread(np.concatenate, pixels)


async def parts(unit: Sampler, rows: Latents, progress: Progress | None, show: Show) -> AsyncIterator[Pixels]:
    """Latents [n, latent] -> uint8 [m, h, w, c], m images at a time: all at once for a request; for a job (with
    `progress`) one batch after the other, so that requests are served in between, and no more are in memory.

    Raises InputError as `Sampler.images` does; OverloadError for a request alone, since a job waits for room.
    """
    if progress is None:
        yield await unit.images(rows)
        return
    unit.check(rows)
    total, done = len(rows.latents), 0
    progress(done, total)
    for part in rows.split(unit.batcher.max_size):
        pixels = await patiently(partial(unit.images, part, Flow(patient=True)))
        yield pixels
        done += len(pixels)
        show(pixels[-1])
        progress(done, total)


async def let_in(call: Call, make: Callable[[], Awaitable[Result]]) -> Result:
    """What `make` gives; a job waits for room in a full queue, of which a request is told."""
    return await (patiently(make) if call.is_job else make())


async def patiently(make: Callable[[], Awaitable[Result]]) -> Result:
    """What `make` gives; where the queue is full, again when there should be room."""
    while True:
        try:
            return await make()
        except OverloadError as error:
            await asyncio.sleep(max(error.retry_after_s, 0.1))

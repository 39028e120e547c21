"""Everything that the endpoints share, made once from the settings. Plain Python: it can be had without a server."""

import asyncio
import contextlib
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from service.engine import Engine
from service.registry import Registry
from service.settings import Settings

Result = TypeVar("Result")


class Core:
    """Engine, registry and what else outlives a request.

    Attributes:
        encoders: threads for work outside the device, such as decoding and encoding images.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = Engine(settings)
        self.registry = Registry(settings, self.engine)
        self.encoders = ThreadPoolExecutor(2, "encode")
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Returns at once; the models are loaded and warmed in the background, and `ready` says when they are."""
        self._tasks.add(asyncio.create_task(self._load_and_watch()))

    async def _load_and_watch(self) -> None:
        await self.registry.refresh()
        gc.collect()
        gc.freeze()  # a quarter of a million objects of torch's need no further look: pauses of 200 ms otherwise
        await self.registry.watch()

    async def stop(self) -> None:
        """Stops watching, finishes what is being run."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self.encoders.shutdown(cancel_futures=True)
        await asyncio.to_thread(self.engine.close)

    async def encode(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Runs work on pixels or files beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.encoders, function, *arguments)

    @property
    def ready(self) -> bool:
        """True when every configured model is loaded and warm."""
        return self.registry.ready

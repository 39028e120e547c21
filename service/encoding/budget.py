"""How much may be decoded at once in the whole process.

A photo of 10 kB may hold 4 million pixels. Uploads are bounded by their bytes, the device by its queue; between the two
is what has been decoded, and waits. Whoever decodes holds as many pixels of the budget for as long as the picture
lives.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator


class Budget:
    """So many pixels, given out first come, first served; for one event loop."""

    def __init__(self, pixels: int) -> None:
        self._most = pixels
        self._free = pixels
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def free(self) -> int:
        return self._free

    @contextlib.asynccontextmanager
    async def hold(self, pixels: int) -> AsyncIterator[None]:
        """Waits until there is room for so many pixels; more than there are in all need the whole budget."""
        pixels = min(pixels, self._most)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((pixels, turn))
        self._give_out()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._free += pixels
            self._give_out()

    def _give_out(self) -> None:
        while self._waiting and (self._waiting[0][1].cancelled() or self._waiting[0][0] <= self._free):
            pixels, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._free -= pixels
                turn.set_result(None)

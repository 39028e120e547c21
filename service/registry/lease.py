"""One of several processes that share a store does a piece of work; the others wait for what it keeps there.

Who holds a lease renews it. One that has not changed for a while, by the clock of whoever waits, is of a process that
died, and is taken away. Should two find that at one instant, both may do the work: a lease saves work, and must not be
relied on for more. A job would need a queue and a worker, and a version must come into service without them.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator

from models.errors import ConflictError, NotFoundError, OverloadError
from service.storage import Store

_RENEW_S = 10.0
_DEAD_S = 60.0


class Lease:
    """A name in a store's section that one process has at a time. A store that cannot be used has no say in it."""

    def __init__(self, store: Store, section: str, name: str) -> None:
        self._store = store
        self._section = section
        self._name = name
        self._seen: tuple[bytes, float] = (b"", 0.0)

    async def take(self) -> bool:
        """Whether this process has it now; if not, ask again in a while."""
        try:
            await self._store.create(self._section, self._name, _token())
        except OverloadError:
            return True
        except ConflictError:
            with contextlib.suppress(NotFoundError, OverloadError):
                await self._look()
            return False
        return True

    async def _look(self) -> None:
        token, now = await self._store.get(self._section, self._name), time.monotonic()
        if token != self._seen[0]:
            self._seen = token, now
        elif now - self._seen[1] > _DEAD_S:
            await self._store.delete(self._section, self._name)

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Renews what was taken, and gives it back at the end."""
        renewing = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            renewing.cancel()
            with contextlib.suppress(NotFoundError, OverloadError):
                await asyncio.shield(self._store.delete(self._section, self._name))

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            with contextlib.suppress(OverloadError):
                await self._store.put(self._section, self._name, _token())


def _token() -> bytes:
    return secrets.token_hex(8).encode()

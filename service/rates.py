"""Requests a minute of each caller, by a sliding window of the library `limits`: counted in this process, or by all
replicas together on the Redis that GAN_RATES names.
"""

import asyncio
import logging
import math
import time
from typing import Any

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from models import addresses
from service.errors import RateLimitError
from service.setting_values import ESCAPED

_MOST_CALLERS = 10_000  # remembered in this process; past it all are forgotten, since a caller's address costs nothing
_ANSWER_S = 0.5  # a request waits no longer for Redis
_ALONE_S = 10.0  # in which Redis, which did not answer, is not asked
_CONNECT_S = 10.0
_CONNECTIONS = 16
_log = logging.getLogger("gan")


class Rates:
    """`per_minute` requests of each caller in any 60 seconds; 0 is no limit.

    Where Redis does not answer, each process counts for itself for a while: a request is not refused for it.

    Args:
        url: redis:// or rediss://; None for this process.
    Raises:
        ValueError: another scheme, or the driver is not installed.
    """

    def __init__(self, per_minute: int, url: str | None = None) -> None:
        self.limited = per_minute > 0
        self._item = RateLimitItemPerMinute(max(1, per_minute))
        self._memory = MemoryStorage()
        self._here = SlidingWindowCounterRateLimiter(self._memory)
        self._shown = addresses.without_secrets(url) if url else ""
        pool = _pool(url, self._shown) if url is not None else None  # a wrong address is said without a limit, too
        self._pool = pool if self.limited else None
        self._shared = None if self._pool is None else SlidingWindowCounterRateLimiter(_storage(self._pool))
        self._alone_until = -math.inf

    async def connect(self) -> None:
        """Raises ValueError where Redis cannot be reached, or does not let us in."""
        if self._shared is None:
            return
        try:
            async with asyncio.timeout(_CONNECT_S):
                await self._shared.test(self._item, "")
        except Exception as error:  # the driver has its own
            await self.close()
            raise ValueError(f"GAN_RATES: {self._shown} cannot be used ({type(error).__name__}).") from None

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.disconnect()

    async def take(self, caller: str) -> None:
        """Counts one request; raises RateLimitError where there are too many, saying when there will be room."""
        if self._shared is not None and time.monotonic() >= self._alone_until:
            try:
                async with asyncio.timeout(_ANSWER_S):
                    return await self._take(self._shared, caller)
            except RateLimitError:
                raise
            except Exception as error:  # the driver has its own
                self._alone_until = time.monotonic() + _ALONE_S
                _log.warning("the rates at %s: %s; counting here for %g s", self._shown, type(error).__name__, _ALONE_S)
        if len(self._memory.storage) > _MOST_CALLERS:
            await self._memory.reset()
        return await self._take(self._here, caller)

    async def _take(self, limiter: SlidingWindowCounterRateLimiter, caller: str) -> None:
        if await limiter.hit(self._item, caller):
            return
        window = await limiter.get_window_stats(self._item, caller)
        wait_s = max(1, math.ceil(window.reset_time - time.time()))
        raise RateLimitError(
            f"This caller's {self._item.amount} requests a minute are used up; try again in {wait_s} s.",
            retry_after_s=wait_s,
        )


def _pool(url: str, shown: str) -> Any:
    """Of connections to Redis. Raises ValueError."""
    if addresses.scheme(url) not in ("redis", "rediss"):
        raise ValueError("GAN_RATES begins with redis:// or rediss://.")
    try:
        from redis.asyncio import BlockingConnectionPool
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ModuleNotFoundError:
        raise ValueError(
            "GAN_RATES is set, and the driver of Redis is not installed: "
            "pip install -c constraints.txt -r requirements-scale.txt"
        ) from None
    try:
        return BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=_ANSWER_S,
            socket_connect_timeout=_ANSWER_S,
            socket_timeout=_ANSWER_S,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:  # whose text may hold a piece of a password
        raise ValueError(f"GAN_RATES: {shown} {ESCAPED}") from None


def _storage(pool: Any) -> RedisStorage:
    return RedisStorage("async+redis://", implementation="redispy", key_prefix="gan-rates", connection_pool=pool)

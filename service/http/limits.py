"""Rates and bodies: what one caller may ask of the service, whatever is asked."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import Message, Receive

from models.errors import LimitError
from service.errors import RateLimitError

_MOST_CALLERS = 10_000  # remembered at once; the one not seen for longest is forgotten first


class RateLimit:
    """A token bucket for each caller: `per_minute` requests at once, refilled evenly over a minute."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens left, at a time

    def take(self, caller: str) -> None:
        """Counts one request; raises RateLimitError when there is none left, saying when there will be."""
        if not self._per_minute:
            return
        now = self._clock()
        tokens, then = self._buckets.pop(caller, (float(self._per_minute), now))
        tokens = min(self._per_minute, tokens + (now - then) * self._per_minute / 60)
        allowed = tokens >= 1
        self._buckets[caller] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)
        if not allowed:
            wait = math.ceil((1 - tokens) * 60 / self._per_minute)
            raise RateLimitError(
                f"This caller's {self._per_minute} requests a minute are used up; try again in {wait} s.",
                retry_after_s=wait,
            )


def limited(receive: Receive, length: str | None, most: int) -> Receive:
    """`receive`, but for bodies of at most `most` bytes.

    Raises LimitError: at once where the announced `length` is more, else when that many bytes have come.
    """
    error = LimitError(f"The body is larger than {most / 2**20:g} MiB.", where="body")
    if length is not None and length.isdigit() and int(length) > most:
        raise error
    seen = 0

    async def checked() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > most:
                raise error
        return message

    return checked

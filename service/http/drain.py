"""An answer that comes before the request's body is through must reach the client all the same.

A server that answers and closes while bytes still arrive makes the kernel reset the connection, and a reset can
overtake the answer: the client then sees a broken connection in place of the 413. So the end of such an answer is held
back until the rest of the body has come, which is thrown away, within bounds of bytes and time.
"""

import asyncio
import contextlib
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Send

MOST_BYTES = 1 << 30  # thrown away for one request; what is longer may see the reset


class Drain:
    """`receive` and `send` of one request.

    Args:
        until: when to give up, on `time.monotonic`.
    """

    def __init__(self, headers: Headers, receive: Receive, send: Send, until: float) -> None:
        length = headers.get("content-length", "")
        self._through = "transfer-encoding" not in headers and not (length.isdigit() and int(length) > 0)
        self._bounded = length.isdigit() and int(length) <= MOST_BYTES
        # Such a client sends its body only once it is told to, and a final answer tells it not to.
        self._waiting = headers.get("expect", "").lower() == "100-continue"
        self._receive = receive
        self._send = send
        self._until = until

    async def receive(self) -> Message:
        self._waiting = False
        message = await self._receive()
        self._through = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        unread = self._waiting or not self._bounded or time.monotonic() >= self._until
        if message["type"] == "http.response.start" and not self._through and unread:
            MutableHeaders(scope=message)["Connection"] = "close"  # else the server would go on reading
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last and not self._through and not self._waiting:
            await self._send({**message, "more_body": True})
            await self._rest()
            message = {"type": "http.response.body"}
        await self._send(message)

    async def _rest(self) -> None:
        seen = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._until - time.monotonic()):
                while not self._through and seen < MOST_BYTES:
                    seen += len((await self.receive()).get("body", b""))

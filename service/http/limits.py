"""What one caller may have of the service at once: places, bytes of bodies and answers."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator

from starlette.types import Message, Receive, Scope, Send

from models.errors import LimitError, OverloadError
from service.settings import Settings

_PART = 1 << 16  # bytes of an answer written at once: as much as uvicorn buffers before it waits
_SMALL = 1 << 16  # bytes of a body that are not counted; there are at most as many of those as connections


class Room:
    """What all requests have together: places for those that are worked on, memory for their bodies.

    Args:
        changed: told how many places are taken.
    """

    def __init__(self, settings: Settings, changed: Callable[[float], None]) -> None:
        self._most = settings.max_requests
        self._most_bytes = settings.bodies_mb * 2**20
        self._changed = changed
        self._taken = 0
        self._bytes: Counter[str] = Counter()  # by caller

    def place(self, by: int) -> None:
        """Takes (1) or gives back (-1) a place; raises OverloadError where none is left."""
        if by > 0 and self._taken >= self._most:
            raise OverloadError(f"{self._taken} requests are being answered already.", retry_after_s=1)
        self._taken += by
        self._changed(self._taken)

    def hold(self, caller: str, by: int) -> None:
        """Counts bytes of a body, negative ones when they go; raises OverloadError where there are too many.

        One caller gets half of it all, so that there is always some left for another.
        """
        if by > 0 and (self._bytes.total() + by > self._most_bytes or self._bytes[caller] + by > self._most_bytes // 2):
            raise OverloadError("Too much is being uploaded at once.", retry_after_s=5)
        self._bytes[caller] += by
        if not self._bytes[caller]:
            del self._bytes[caller]


class Stay:
    """One request's share of the room, until its answer begins.

    A place is taken when the body is there, so that announcing one costs nobody anything.

    Args:
        length: of the body, as announced; None where only its end will tell.
        most: bytes of the body.
        early: take a place before the body; for a request whose body is of no interest.
    """

    def __init__(self, room: Room, caller: str, receive: Receive, length: int | None, most: int, early: bool) -> None:
        self._room = room
        self._caller = caller
        self._receive = receive
        self._error = LimitError(f"The body is larger than {most / 2**20:g} MiB.", where="body")
        self._most = most
        self._seen = 0
        self._held = 0
        self._placed = False
        if length is not None and length > most:
            raise self._error
        if early or length == 0:
            self._take_place()

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            if self._seen > self._most:
                raise self._error
            if self._seen > max(_SMALL, self._held):
                self._room.hold(self._caller, self._seen - self._held)
                self._held = self._seen
            if not message.get("more_body", False):
                self._take_place()
        return message

    def _take_place(self) -> None:
        if not self._placed:
            self._room.place(1)
            self._placed = True

    def end(self) -> None:
        """Gives everything back; may be called again."""
        if self._placed:
            self._room.place(-1)
            self._placed = False
        if self._held:
            self._room.hold(self._caller, -self._held)
            self._held = 0


class Unsent:
    """Bytes of answers that wait for their clients. Past `most`, the client that has stood still longest is cut off."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[int, _Answer] = {}

    async def send(self, scope: Scope, message: Message, send: Send) -> None:
        """`send`, in parts, each of which waits until the ones before it are on their way."""
        body = message.get("body", b"")
        if len(body) <= _PART:
            await send(message)
            return
        with self._counted(scope, len(body)) as answer:
            for start in range(0, len(body), _PART):
                part = body[start : start + _PART]
                more = message.get("more_body", False) or start + _PART < len(body)
                await send({**message, "body": part, "more_body": more})
                answer.left -= len(part)
                answer.moved = asyncio.get_running_loop().time()

    @contextlib.contextmanager
    def _counted(self, scope: Scope, size: int) -> Iterator["_Answer"]:
        answer = _Answer(size, asyncio.get_running_loop().time(), scope.get("gan.abort", lambda: None))
        self._waiting[id(answer)] = answer
        try:
            while sum(one.left for one in self._waiting.values()) > self._most and len(self._waiting) > 1:
                slowest = min(self._waiting, key=lambda key: self._waiting[key].moved)
                self._waiting.pop(slowest).abort()
            yield answer
        finally:
            self._waiting.pop(id(answer), None)


class _Answer:
    def __init__(self, left: int, moved: float, abort: Callable[[], None]) -> None:
        self.left, self.moved, self.abort = left, moved, abort

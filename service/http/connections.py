"""Who is connected: how many at once, how many from one address, and who has to go when there are more.

A newcomer always gets in as long as anybody else's connection is waiting for its client: the one that has waited
longest is closed for it. A client that opens connections and leaves them so loses its own, and nobody else's.
"""

import asyncio
import resource
from collections.abc import Iterable
from typing import Protocol

from service.http.callers import Callers
from service.settings import Settings


class Connection(Protocol):
    """What is asked of a connection.

    Attributes:
        address: of its other end.
        waits: it is the client's turn: to send a request or the rest of one, or to take an answer.
        moved: when bytes last came or went, on the event loop's clock.
    """

    @property
    def address(self) -> str: ...
    @property
    def waits(self) -> bool: ...
    @property
    def moved(self) -> float: ...
    def abort(self) -> None: ...


class Connections:
    """The open connections of one server, by address.

    Attributes:
        stopping: set when the server stops.

    Args:
        callers: a trusted proxy speaks for many, so that the limit for one address is not for it.
    """

    def __init__(self, settings: Settings, callers: Callers) -> None:
        self._most = min(settings.connections, open_files() // 2)
        self._most_of_one = settings.connections_per_address
        self._callers = callers
        self.stopping = asyncio.Event()
        # Of each address in the order they came, which decides where the clock, of milliseconds, cannot.
        self._open: dict[str, dict[Connection, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def enter(self, new: Connection) -> bool:
        """Takes a connection in, for which another may be closed; False where none can be."""
        group = self._callers.group(new.address)
        same = self._open.setdefault(group, {})
        if len(same) >= self._most_of_one and not self._callers.trusts(new.address):
            room = _close_one(same)
        elif self._count >= self._most:
            # The largest crowd pays first: one client's thousand connections do not push out another client's two.
            crowds = sorted(self._open.values(), key=len, reverse=True)
            room = any(_close_one(crowd) for crowd in crowds)
        else:
            room = True
        same[new] = None
        self._count += 1
        return room

    def leave(self, connection: Connection) -> None:
        group = self._callers.group(connection.address)
        same = self._open.get(group, {})
        if connection in same:
            del same[connection]
            self._count -= 1
            if not same:
                del self._open[group]


def _close_one(connections: Iterable[Connection]) -> bool:
    """Closes the one that has waited for its client longest; False where all are being worked for."""
    waiting = [connection for connection in connections if connection.waits]
    if not waiting:
        return False
    min(waiting, key=lambda connection: connection.moved).abort()
    return True


def open_files() -> int:
    """How many files, connections among them, this process may have open, once that is raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard

"""Who has to go when there are more connections than one address may have."""

from dataclasses import dataclass

import pytest

from service.http.callers import Callers
from service.http.connections import Connections
from service.settings import Settings


@dataclass(eq=False)
class Idle:
    """A connection whose client has something to do."""

    moved: float
    address: str = "192.0.2.1"
    waits: bool = True
    gone: bool = False

    def abort(self) -> None:
        self.gone = True


@pytest.mark.parametrize("moved", [[7.0] * 20, [float(number) for number in range(20)]], ids=["one tick", "in turn"])
def test_of_those_that_waited_equally_long_the_first_goes(moved: list[float]) -> None:
    """Connections that are accepted in one turn of the event loop have one time."""
    settings = Settings(connections_per_address=20)
    connections = Connections(settings, Callers(settings))
    there = [Idle(one) for one in moved]
    for one in there:
        assert connections.enter(one)
    assert connections.enter(Idle(max(moved)))
    assert [one.gone for one in there] == [True] + [False] * 19

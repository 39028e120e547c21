"""One processor is always left for the tasks that read: without it a run would wait for ever, without a word."""

from __future__ import annotations

import pytest

from bulk.cluster import Actors, _room_for
from models import InputError


@pytest.mark.parametrize(
    ("wanted", "resources", "found"),
    [
        (None, {"CPU": 3.0}, Actors(2, gpu=False)),
        (1, {"CPU": 3.0}, Actors(1, gpu=False)),
        (2, {"CPU": 3.0, "memory": 1e9}, Actors(2, gpu=False)),
        (None, {"CPU": 16.0, "GPU": 4.0}, Actors(4, gpu=True)),
        (None, {"CPU": 4.0, "GPU": 8.0}, Actors(3, gpu=True)),
    ],
)
def test_actors_leave_one_processor(wanted: int | None, resources: dict[str, float], found: Actors) -> None:
    assert _room_for(wanted, resources) == found


@pytest.mark.parametrize(
    ("wanted", "resources", "said"),
    [
        (3, {"CPU": 3.0}, "room for 2 actors: the cluster has 3 processors, of which reading needs one. Ask for fewer"),
        (5, {"CPU": 16.0, "GPU": 4.0}, "room for 4 actors: .* needs one, and 4 GPUs"),
        (None, {"CPU": 1.0}, "has 1 processors: an actor needs one, and reading another"),
        (None, {}, "has 0 processors"),
    ],
)
def test_more_than_there_is_room_for_is_refused(wanted: int | None, resources: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        _room_for(wanted, resources)

"""GET /v1/jobs/{id}/events: what becomes of a job, as server-sent events (WHATWG HTML, 9.2).

    state      the job, each time that its state changes
    progress   done, total, seconds_left
    preview    a small picture of what it has made so far
    end        the job; nothing comes after it

An event's id says where the job was: attempts, state, images done, previews. Whoever comes back with it, to any
replica, is told what has changed since; what changed twice meanwhile is told once.
"""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel

from service.call import Answer, Call
from service.http.operation import Operation
from service.jobs.preview import JobPreview
from service.jobs.records import Record
from service.jobs.view import progress, view
from service.runtime import Runtime

_MEDIA = "text/event-stream"
_LAST = "Last-Event-ID"
_PLACE = re.compile(r"([0-9]{1,9})\.([a-z]{1,16})\.([0-9]{1,12})\.([0-9]{1,9})", re.ASCII)
_RETRY = b"retry: 2000\n\n"  # milliseconds until a client whose connection broke comes back
_HEARTBEAT = b": \n\n"
_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}  # or proxies gather what they pass on


@dataclass(frozen=True)
class _Place:
    """Where a job is, as far as its events tell."""

    attempts: int = 0
    state: str = ""
    done: int = 0
    previews: int = 0

    @classmethod
    def of(cls, record: Record) -> Self:
        return cls(record.attempts, record.state, record.done, record.preview["number"] if record.preview else 0)

    @classmethod
    def parse(cls, text: str) -> Self:
        """What is no id of ours is as good as none: all is told."""
        match = _PLACE.fullmatch(text)
        return cls(int(match[1]), match[2], int(match[3]), int(match[4])) if match else cls()

    def __str__(self) -> str:
        return f"{self.attempts}.{self.state}.{self.done}.{self.previews}"


async def follow_job(runtime: Runtime, call: Call) -> Answer:
    record = await runtime.jobs.get(call.parameters["id"], call.principal)
    seen = _Place.parse(call.parameters.get(_LAST, ""))
    if record.over and seen == _Place.of(record):
        return Answer(b"", _MEDIA, status=204)  # which has a browser's EventSource not come back any more
    events = _events(runtime, call, record, seen)
    return Answer(_after(await anext(events), events), _MEDIA, _HEADERS)  # the first shows whether there is room


async def _events(runtime: Runtime, call: Call, record: Record, seen: _Place) -> AsyncIterator[bytes]:
    beat_s = runtime.settings.job_heartbeat_s
    lead = _RETRY
    async for now in runtime.jobs.followers.follow(record, call.caller, beat_s=beat_s, stopping=call.stopping):
        place = _Place.of(now)
        yield lead + (_written(_changes(now, place, seen), place) or _HEARTBEAT)
        lead, seen = b"", place


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for one in rest:
        yield one


def _changes(record: Record, place: _Place, seen: _Place) -> Iterator[tuple[str, BaseModel]]:
    """(name, data) of what is to be told to who was told of `seen`."""
    begun = (place.attempts, place.state) != (seen.attempts, seen.state)
    if begun:
        yield "state", view(record)
    if record.state == "running" and record.total and (begun or place.done != seen.done):
        yield "progress", progress(record)
    if record.preview is not None and (begun or place.previews != seen.previews):
        yield "preview", JobPreview.model_validate(record.preview)
    if record.over:
        yield "end", view(record)


def _written(changes: Iterator[tuple[str, BaseModel]], place: _Place) -> bytes:
    """The id stands in the last one: who did not get as far is told all of them again."""
    events = [f"event: {name}\ndata: {data.model_dump_json()}\n" for name, data in changes]
    return "\n".join([*events[:-1], *(f"id: {place}\n{event}\n" for event in events[-1:])]).encode()


EVENTS = Operation(
    "GET",
    "/v1/jobs/{id}/events",
    "job_events",
    "Follow a job",
    follow_job,
    "jobs",
    description=(
        "Server-sent events: `state` and `end` (the job), `progress`, `preview` (a small picture of what it has made "
        "so far, in base64). With the id of the last event, what has changed since."
    ),
    answers={_MEDIA: {"type": "string"}},
    headers={"X-Accel-Buffering": "no: proxies pass on each event as it comes."},
    request_headers={_LAST: "The id of the last event that came, where the connection broke."},
    empty={204: "The id is that of the end: there is nothing more to come."},
    errors=(404,),
)

"""Reads server-sent events (WHATWG HTML, 9.2.6) for tests, as plainly as the standard has them."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import requests


@dataclass
class Event:
    """`data` as JSON; `last_id` is what a browser would come back with after it."""

    name: str
    data: Any
    last_id: str


@dataclass
class Stream:
    """A connection; `comments` counts what was sent to keep it open."""

    response: requests.Response
    comments: int = 0
    retry: str = ""
    _last_id: str = field(default="", init=False)

    def __iter__(self) -> Iterator[Event]:
        name, data = "message", list[str]()
        for line in self.response.iter_lines(chunk_size=1, decode_unicode=True):
            key, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line and data:
                yield Event(name, json.loads("\n".join(data)), self._last_id)
                name, data = "message", []
            elif line.startswith(":"):
                self.comments += 1
            elif key == "event":
                name = value
            elif key == "data":
                data.append(value)
            elif key == "id":
                self._last_id = value
            elif key == "retry":
                self.retry = value


@contextlib.contextmanager
def follow(url: str, job: str, after: str = "", **headers: str) -> Iterator[Stream]:
    """The events of a job."""
    sent = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {}), **headers}
    with requests.get(f"{url}/v1/jobs/{job}/events", headers=sent, stream=True, timeout=120) as response:
        response.encoding = "utf-8"
        yield Stream(response)

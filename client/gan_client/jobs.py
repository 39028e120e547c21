"""A job, and what the service tells of it as server-sent events."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import quote
from uuid import uuid4

from requests import RequestException, Response, codes

from gan_client.answers import ServiceError, json_of, reading, result_of

T = TypeVar("T")
Progress = Callable[[int, int], object]
_SILENCE_S = 60.0  # a stream that says nothing for as long, not even that it lives, is broken
_PAUSE_S = 1.0  # before a broken one is taken up again
_PIECE = 1 << 16  # bytes; of one that does not come whole, all is lost
_TRIES = 5


class Service(Protocol):
    """What a job asks: a client."""

    def request(self, method: str, path: str) -> Response: ...
    def fetch(self, path: str, start: int = 0) -> Response: ...
    def stream(self, path: str, headers: Mapping[str, str], silence_s: float) -> Response: ...


@dataclass(frozen=True)
class Event:
    """One thing that became of a job: `state` and `end` hold its view, `progress` done, total and seconds_left,
    `preview` a small picture in base64 (docs/api/jobs.md). `id` is what a stream is taken up with after it."""

    name: str
    data: dict[str, Any]
    id: str


@dataclass(frozen=True)
class Job(Generic[T]):
    """Work that the service does in its own time; `client.job(id)` finds it again."""

    id: str
    service: Service

    @property
    def _path(self) -> str:
        return f"/v1/jobs/{quote(self.id, safe='')}"

    def view(self) -> dict[str, Any]:
        """Kind, state, progress, times, note."""
        return json_of(self.service.request("GET", self._path))

    def follow(self, *, timeout_s: float = float("inf")) -> Iterator[Event]:
        """What becomes of the job, until it is over. A stream that breaks is taken up where it broke."""
        end, last = time.monotonic() + timeout_s, ""
        while True:
            left = end - time.monotonic()
            headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
            with self.service.stream(f"{self._path}/events", headers, max(0.1, min(left, _SILENCE_S))) as response:
                try:
                    for event in _events(response, last):
                        last = event.id
                        yield event
                        if event.name == "end":
                            return
                        if time.monotonic() >= end:
                            break
                except RequestException:
                    pass  # it broke, or said nothing; where the service is gone, the next request says so
            if time.monotonic() >= end:
                raise TimeoutError(f"Job {self.id} is not over after {timeout_s:g} s.")
            time.sleep(min(_PAUSE_S, max(0.0, end - time.monotonic())))

    def wait(self, progress: Progress = lambda done, total: None, *, timeout_s: float = float("inf")) -> T:
        """What the call would have returned or raised. `progress(done, total)` gets 0 for a total not yet known."""
        self.finish(progress, timeout_s=timeout_s)
        return result_of(self.service.request("GET", f"{self._path}/result"))

    def finish(self, progress: Progress = lambda done, total: None, *, timeout_s: float = float("inf")) -> None:
        """Waits until it is over, however it ended."""
        for event in self.follow(timeout_s=timeout_s):
            told = event.data if event.name == "progress" else event.data.get("progress")
            if told is not None:
                progress(told["done"], told["total"])

    def save(self, path: str | Path, progress: Progress = lambda done, total: None) -> Path:
        """Waits, and writes the result to a file as it comes, whole or not at all: it may be larger than memory.

        A download that breaks off is gone on with where it stopped. Raises ServiceError.
        """
        self.finish(progress)
        return self.download(self.result(), Path(path))

    def result(self) -> Response:
        """The result of a job that is over, its body still to come; `download` writes it to a file."""
        return self.service.fetch(f"{self._path}/result")

    def download(self, response: Response, path: Path) -> Path:
        """Writes what `result` gave; after a break it goes on from there, as long as there is some progress."""
        part = path.with_name(f".{uuid4().hex}.part")
        tries = _TRIES
        try:
            with part.open("wb") as file:
                while True:
                    start = file.tell()
                    try:
                        for piece in response.iter_content(_PIECE):
                            file.write(piece)
                        break
                    except RequestException as error:
                        tries = _TRIES if file.tell() > start else tries - 1
                        if not tries:
                            raise ServiceError(f"The result of job {self.id} breaks off again and again.") from error
                    response = self.service.fetch(f"{self._path}/result", file.tell())
                    if response.status_code != codes.partial_content:
                        file.truncate(0)
                        file.seek(0)
            return part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def cancel(self) -> dict[str, Any]:
        """Stops the job; one that is over is removed with its result. Gives the last `view`."""
        return json_of(self.service.request("DELETE", self._path))


def _events(response: Response, last: str) -> Iterator[Event]:
    """As they come (WHATWG HTML, 9.2.6), data in one line. `last` is the id until an event has another."""
    name = data = ""
    for line in response.iter_lines():
        field, _, value = line.decode().partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            data = value
        elif field == "id":
            last = value
        elif not line and name:
            with reading(response):
                event = Event(name, dict(json.loads(data)), last)
            yield event
            name = data = ""

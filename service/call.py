"""What goes into a handler and what comes out: plain values, whoever calls it, a request or a job.

request ── http/operation.py ──┐                            ┌── http/operation.py ── response
                               ├── Call ── handler ── Answer ┤
job ────── jobs/envelope.py ───┘                            └── jobs/envelope.py ── kept result
"""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from pydantic import BaseModel

import models
from models.images import Pixels

Progress = Callable[[int, int], None]
"""Called with (done, total), again and again."""

Show = Callable[[Pixels], None]
"""Called with a picture of what has been made so far, uint8 [h, w, 1 or 3], which may change afterwards."""


class Report(Protocol):
    """What work tells of itself while it goes on: how far it is, when it is called, and what it makes."""

    def __call__(self, done: int, total: int) -> None: ...
    def show(self, picture: Pixels) -> None: ...


Content = bytes | BinaryIO | Path | AsyncIterator[bytes]
"""An answer's bytes: in memory, in the open file that a job was given, in a file that stays, or as they come."""

JSON = "application/json"


@dataclass(frozen=True)
class File:
    """An uploaded file.

    Attributes:
        name: what the client calls it, or the form field and a number.
    """

    name: str
    stream: BinaryIO

    def read(self) -> bytes:
        """All of it. It may be on disk: large ones are read beside the event loop."""
        self.stream.seek(0)
        return self.stream.read()


@dataclass(frozen=True)
class Principal:
    """Whose API key a call came with.

    Attributes:
        identity: the key's name, which stays when the key is replaced; of a key without a name, its digest.
        operator: sees everybody's jobs.
    """

    identity: str
    operator: bool = False


@dataclass(frozen=True)
class Call:
    """What a client asks of one endpoint, read and checked.

    Attributes:
        accept: the media types that the client takes, as in RFC 9110 12.5.1.
        parameters: those in the path, and the headers that the endpoint names in its table entry.
        body: the endpoint's model, filled from JSON, form fields or the query; None for an endpoint without one.
        files: uploads by form field; they are closed when the handler returns.
        is_job: nobody waits at the other end, so that there is no deadline, limits are larger, and others go first.
        progress: where a job that runs reports (done, total); None for a request, and for a job at its submission.
        show: where a job shows what it makes.
        caller: the name of the client's API key, or its address.
        principal: whose key it is; None where no keys are asked for.
        seed: what is drawn from where the client names no seed; a job that is begun again has the same.
        stopping: set when the server stops, for answers that have no end of their own.
        spool: the empty temporary file that a job may write its answer to, since it may be larger than memory; None for
            a request, whose answer is bounded.
    """

    accept: str = "*/*"
    parameters: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    files: Mapping[str, list[File]] = field(default_factory=dict)
    is_job: bool = False
    progress: Progress | None = None
    show: Show = lambda picture: None
    caller: str = ""
    principal: Principal | None = None
    seed: int = field(default_factory=models.random_seed)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    spool: BinaryIO | None = None

    def out(self) -> BinaryIO:
        """Where an answer of many parts is written."""
        return io.BytesIO() if self.spool is None else self.spool


@dataclass(frozen=True)
class Answer:
    """What a handler gives back; also what an error becomes (http/answers.py)."""

    content: Content
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200

    @classmethod
    def of(
        cls, content: BaseModel | Mapping[str, Any], *, headers: Mapping[str, str] | None = None, status: int = 200
    ) -> "Answer":
        """A model, or what `json` takes, as strict JSON: no NaN, no infinity."""
        if isinstance(content, BaseModel):
            content = content.model_dump(mode="json")
        return cls(strict_json(content), JSON, headers or {}, status)


def strict_json(value: object) -> bytes:
    """What `json` takes, as answers have it: no blanks; raises ValueError for NaN and infinity."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

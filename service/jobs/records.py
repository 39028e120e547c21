"""What is kept of a job: what was asked, who runs it, and how it ended."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]


class _Kept:
    """A dataclass that is kept as JSON."""

    def dump(self) -> bytes:
        fields: dict[str, object] = dataclasses.asdict(self)  # type: ignore[call-overload]
        said = {name: value for name, value in fields.items() if value is not None}
        return json.dumps(said).encode()  # without what an older version would not know, where nothing is said of it

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Reads what a later version of this service added to as if it had not; raises ValueError for other changes."""
        try:
            known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
            return cls(**{name: value for name, value in json.loads(data).items() if name in known})
        except (TypeError, AttributeError) as error:
            raise ValueError(str(error)) from error


@dataclass(frozen=True)
class Request(_Kept):
    """What was asked.

    Attributes:
        digest: SHA-256 of it, by which two submissions are told apart.
        created_at: seconds since 1970.
        seed: for work that the client left to chance, so that a second run draws the same.
        payload: the name of the file that holds it.
        owner: an HMAC of whose API key submitted it; None where no keys were asked for.
        callback: the address that is told when it is over.
    """

    kind: str
    digest: str
    created_at: float
    seed: int
    payload: str
    owner: str | None = None
    callback: str | None = None


@dataclass(frozen=True)
class Attempt(_Kept):
    """Who runs a job: the attempt whose `owner`, a random token, is in the store. Any other has to stop.

    Attributes:
        attempts: how many were begun so far, this one included.
    """

    attempts: int
    owner: str
    started_at: float
    state: State = "running"


@dataclass(frozen=True)
class Delivery(_Kept):
    """What became of telling a callback.

    Attributes:
        attempts: how many were made.
        last_at: when the last one ended, seconds since 1970.
        last_status: of its answer; where there was none, `last_error` says why.
    """

    state: Literal["pending", "delivered", "failed"] = "pending"
    attempts: int = 0
    last_at: float | None = None
    last_status: int | None = None
    last_error: str | None = None


@dataclass(frozen=True)
class Record(_Kept):
    """A job as it is now; the last one is kept. Times are seconds since 1970.

    Attributes:
        owner, callback: as in the request.
        delivery: what became of the callback; not kept here, but beside it.
        done, total: progress, in the work's own unit.
        preview: what a running job has made so far, as preview.JobPreview has it.
        status, media_type, headers, body, size: of the answer, where there is one; `body` is the file that holds its
            bytes, `size` how many (None in what an earlier version wrote).
    """

    id: str
    kind: str
    state: State
    digest: str
    created_at: float
    owner: str | None = None
    callback: str | None = None
    delivery: Delivery | None = None
    started_at: float | None = None
    finished_at: float | None = None
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    attempts: int = 0
    preview: Mapping[str, Any] | None = None
    status: int | None = None
    media_type: str = ""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: str | None = None
    size: int | None = None

    @classmethod
    def of(cls, job_id: str, request: Request, **changes: Any) -> Self:
        """The job that was asked for, queued where nothing else is said of it."""
        asked = {name: getattr(request, name) for name in ("kind", "digest", "created_at", "owner", "callback")}
        return cls(**{"id": job_id, "state": "queued", **asked, **changes})

    @property
    def over(self) -> bool:
        return self.state not in ("queued", "running")

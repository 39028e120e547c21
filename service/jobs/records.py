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
    """

    kind: str
    digest: str
    created_at: float
    seed: int
    payload: str
    owner: str | None = None


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
class Record(_Kept):
    """A job as it is now; the last one is kept. Times are seconds since 1970.

    Attributes:
        owner: as in the request.
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

    @property
    def over(self) -> bool:
        return self.state not in ("queued", "running")

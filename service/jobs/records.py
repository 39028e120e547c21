"""What is kept of a job."""

import dataclasses
import json
import os
import socket
from dataclasses import dataclass
from typing import Literal

State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
OWNER = f"{socket.gethostname()}:{os.getpid()}"
"""Who runs a job: this process."""


@dataclass(frozen=True)
class Record:
    """A job as the store keeps it. Times are seconds since 1970; `done` of `total` are in the work's own unit."""

    id: str
    kind: str
    state: State
    digest: str
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    attempts: int = 0
    owner: str = OWNER
    signed_at: float = 0.0
    status: int | None = None

    @property
    def over(self) -> bool:
        return self.state not in ("queued", "running")

    def dump(self) -> bytes:
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def parse(cls, data: bytes) -> "Record":
        return cls(**json.loads(data))

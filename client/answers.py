"""What comes back: pictures, jobs and one exception."""

import contextlib
import time
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from requests import Response

T = TypeVar("T")
Progress = Callable[[int, int], object]


@dataclass(eq=False)
class ServiceError(Exception):
    """The service said no. `code` is a word for programs (docs/api/errors.md), `where` the field or file at fault."""

    message: str
    status: int = 0  # nobody answered
    code: str = "unreachable"
    where: str | None = None
    retry_after_s: float | None = None

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Picture:
    """An encoded image and its origin: `seed` where it was drawn from one, `cycle_l1` (0 to 1) where it was asked."""

    data: bytes
    media_type: str
    model: str
    digest: str
    seed: int | None = None
    cycle_l1: float | None = None

    def save(self, path: str | Path) -> Path:
        Path(path).write_bytes(self.data)
        return Path(path)


@dataclass(frozen=True)
class Job(Generic[T]):
    """Work that the service does in its own time; `client.job(id)` finds it again."""

    id: str
    request: Callable[..., Response]

    def view(self) -> dict[str, Any]:
        """State, progress, times, note."""
        return self.request("GET", f"/v1/jobs/{self.id}").json()

    def wait(self, progress: Progress = lambda done, total: None, *, timeout_s: float = float("inf")) -> T:
        """What the call would have returned or raised. `progress(done, total)` gets 0 for a total not yet known."""
        end = time.monotonic() + timeout_s
        while True:
            view = self.view()
            progress(view["progress"]["done"], view["progress"]["total"])
            if view["state"] not in ("queued", "running"):
                return result_of(self.request("GET", f"/v1/jobs/{self.id}/result"))
            if time.monotonic() > end:
                raise TimeoutError(f"Job {self.id} is {view['state']} after {timeout_s:g} s.")
            time.sleep(0.2)

    def cancel(self) -> None:
        """Stops the job; one that is over is removed with its result."""
        self.request("DELETE", f"/v1/jobs/{self.id}")


def error_of(response: Response) -> ServiceError:
    wait = response.headers.get("Retry-After", "")  # in seconds, with 429 and 503
    said = {"message": f"{response.status_code} {response.reason} for {response.url}", "code": "http_error"}
    with contextlib.suppress(ValueError, KeyError, TypeError):  # a proxy's answer, not the service's
        error = response.json()["error"]
        said = {name: error[name] for name in ("message", "code", "where")}
    return ServiceError(**said, status=response.status_code, retry_after_s=float(wait) if wait.isdecimal() else None)


def result_of(response: Response) -> Any:
    """A file as a picture, JSON with files in it as pictures, other JSON as it is."""
    told, kind = response.headers, response.headers["Content-Type"]
    if kind != "application/json":
        loss = float(told["X-Cycle-L1"]) if "X-Cycle-L1" in told and kind.startswith("image/") else None
        return Picture(response.content, kind, told["X-Model"], told["X-Digest"], cycle_l1=loss)
    answer = response.json()
    if not (images := answer.get("images")) or isinstance(images[0], str):
        return answer
    made = f"image/{({**answer, **images[0]})['format']}", answer["model"], answer["digest"]
    return [Picture(b64decode(one["data"]), *made, one.get("seed"), one.get("cycle_l1")) for one in images]

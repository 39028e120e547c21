"""What the client's methods share: one session, one exception, pictures and jobs."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import requests

JobState = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
Files = Sequence[tuple[str, tuple[str, bytes]]]

_POLL_S = 0.5


class ServiceError(Exception):
    """The service said no; `str(error)` is its sentence.

    Attributes:
        status: the HTTP status, 0 where the service could not be reached.
        code: a word for programs, such as "not_found"; docs/api/errors.md lists them.
        where: the field or file at fault, if there is one.
        retry_after_s: when to try again, where the service says so.
    """

    def __init__(
        self, message: str, *, status: int, code: str, where: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.where = where
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Picture:
    """An encoded image and where it came from; `seed` is None for translations and for latents of one's own."""

    data: bytes
    media_type: str
    model: str
    digest: str
    seed: int | None = None

    def save(self, path: str | Path) -> Path:
        """Writes the bytes as they are; the name's suffix changes nothing."""
        path = Path(path)
        path.write_bytes(self.data)
        return path


class Transport:
    """Requests to one service, with its errors raised as `ServiceError`."""

    def __init__(self, url: str, api_key: str | None, timeout_s: float) -> None:
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._session = requests.Session()
        if api_key is not None:
            self._session.headers["Authorization"] = f"Bearer {api_key}"

    def close(self) -> None:
        self._session.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        form: Mapping[str, Any] | None = None,
        files: Files | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Entries of `json` and `form` that are None are left out: the service's defaults hold."""
        try:
            response = self._session.request(
                method,
                self._url + path,
                json=None if json is None else given(json),
                data=None if form is None else given(form),
                files=files,
                headers=headers,
                timeout=self._timeout_s,
            )
        except requests.RequestException as error:
            text = f"{self._url} cannot be reached: {error}"
            raise ServiceError(text, status=0, code="unreachable") from error
        if not response.ok:
            raise _error_of(response)
        return response


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _error_of(response: requests.Response) -> ServiceError:
    wait = response.headers.get("Retry-After")
    try:
        body = response.json()["error"]
        message, code, where = str(body["message"]), str(body["code"]), body.get("where")
    except (ValueError, KeyError, TypeError):  # a proxy's answer, not the service's
        message, code, where = f"{response.status_code} {response.reason} for {response.url}", "http_error", None
    return ServiceError(
        message, status=response.status_code, code=code, where=where, retry_after_s=float(wait) if wait else None
    )


class Job:
    """Work that the service does in its own time. `id` finds it again: `client.job(id)`."""

    def __init__(self, transport: Transport, job_id: str) -> None:
        self._transport = transport
        self.id = job_id

    def view(self) -> dict[str, Any]:
        """The whole record: state, progress, times, note."""
        view: dict[str, Any] = self._transport.request("GET", f"/v1/jobs/{self.id}").json()
        return view

    @property
    def state(self) -> JobState:
        state: JobState = self.view()["state"]
        return state

    def wait(
        self, progress: Callable[[int, int], None] | None = None, *, timeout_s: float | None = None
    ) -> requests.Response:
        """The answer that the request itself would have had.

        Args:
            progress: called with (done, total) at each look, while the job is not over.
        Raises:
            ServiceError: the work's own error, or the job was cancelled.  TimeoutError: not over in time.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while (view := self.view())["state"] in ("queued", "running"):
            if progress is not None:
                progress(view["progress"]["done"], view["progress"]["total"])
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"Job {self.id} is {view['state']} after {timeout_s:g} s.")
            time.sleep(_POLL_S)
        return self._transport.request("GET", f"/v1/jobs/{self.id}/result")

    def cancel(self) -> None:
        """Stops the job; one that is over is removed with its result."""
        self._transport.request("DELETE", f"/v1/jobs/{self.id}")

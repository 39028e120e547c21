"""What the client's methods share: one session, one exception, pictures and jobs."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import Any, Generic, TypeVar

import requests

Result = TypeVar("Result")
Progress = Callable[[int, int], None]
Files = Sequence[tuple[str, tuple[str, bytes]]]

_POLL_S = 0.2


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
        files: Files = (),
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Entries of `json` and `form` that are None are left out: the service's defaults hold. `json` takes numpy too.

        A form is always sent as multipart, files or none, because that is what the service reads.
        """
        parts = [(name, (None, _text(value))) for name, value in given(form or {}).items()]
        body = None if json is None else dumps(given(json), default=_plain)
        typed = {} if json is None else {"Content-Type": "application/json"}
        try:
            response = self._session.request(
                method,
                self._url + path,
                data=body,
                files=[*parts, *files] or None,
                headers={**typed, **(headers or {})},
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


def _plain(value: Any) -> object:
    """What JSON has no word for: numpy's arrays and numbers, ranges and other sequences."""
    return value.tolist() if hasattr(value, "tolist") else list(value)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


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


class Job(Generic[Result]):
    """Work that the service does in its own time. `id` finds it again: `client.job(id)`."""

    def __init__(self, transport: Transport, job_id: str, decode: Callable[[requests.Response], Result]) -> None:
        self._transport = transport
        self._decode = decode
        self.id = job_id

    def view(self) -> dict[str, Any]:
        """The whole record: state, progress, times, note."""
        view: dict[str, Any] = self._transport.request("GET", f"/v1/jobs/{self.id}").json()
        return view

    def wait(self, progress: Progress | None = None, *, timeout_s: float | None = None) -> Result:
        """What the request itself would have answered.

        Args:
            progress: called with (done, total) at each look; total is 0 until it is known.
        Raises:
            ServiceError: the work's own error, or the job was cancelled.  TimeoutError: not over in time.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            view = self.view()
            if progress is not None:
                progress(view["progress"]["done"], view["progress"]["total"])
            if view["state"] not in ("queued", "running"):
                return self._decode(self._transport.request("GET", f"/v1/jobs/{self.id}/result"))
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"Job {self.id} is {view['state']} after {timeout_s:g} s.")
            time.sleep(_POLL_S)

    def cancel(self) -> None:
        """Stops the job; one that is over is removed with its result."""
        self._transport.request("DELETE", f"/v1/jobs/{self.id}")

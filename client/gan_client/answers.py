"""What comes back: pictures, and one exception."""

import contextlib
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from requests import Response


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
    """An encoded image and its origin: `seed` where it was drawn from one, `cycle_l1` (0 to 1) and `mask` (a grey PNG
    of how far each pixel was changed) where they were asked for."""

    data: bytes
    media_type: str
    model: str
    digest: str
    seed: int | None = None
    cycle_l1: float | None = None
    mask: bytes | None = None

    def save(self, path: str | Path) -> Path:
        """Whole or not at all: a file that is there is never half a picture. Its mask goes to NAME.mask.png first."""
        path = Path(path)
        if self.mask is not None:
            _write(path.with_suffix(".mask.png"), self.mask)
        _write(path, self.data)
        return path


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f".{uuid4().hex}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def error_of(response: Response) -> ServiceError:
    wait = response.headers.get("Retry-After", "")  # in seconds, with 429 and 503
    said = {"message": f"{response.status_code} {response.reason} for {response.url}", "code": "http_error"}
    with contextlib.suppress(ValueError, KeyError, TypeError):  # a proxy's answer, not the service's
        error = response.json()["error"]
        said = {name: error[name] for name in ("message", "code", "where")}
    return ServiceError(**said, status=response.status_code, retry_after_s=float(wait) if wait.isdecimal() else None)


@contextlib.contextmanager
def reading(response: Response) -> Iterator[None]:
    """Whatever answers at the address may be another server: what cannot be read is a ServiceError."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        said = f"What answers at {response.url} is not the GAN service: check the address."
        raise ServiceError(said, response.status_code, "http_error") from error


def json_of(response: Response) -> dict[str, Any]:
    with reading(response):
        return dict(response.json())


def field_of(response: Response, name: str) -> Any:
    with reading(response):
        return response.json()[name]


def result_of(response: Response) -> Any:
    """A file as a picture, JSON with files in it as pictures, other JSON as it is."""
    with reading(response):
        # What a bucket has is told by the service, which sends there.
        told = next((one.headers for one in response.history if "X-Model" in one.headers), response.headers)
        kind = told["Content-Type"]
        if kind != "application/json":
            loss = float(told["X-Cycle-L1"]) if "X-Cycle-L1" in told and kind.startswith("image/") else None
            return Picture(response.content, kind, told["X-Model"], told["X-Digest"], cycle_l1=loss)
        answer = response.json()
        if not (images := answer.get("images")) or isinstance(images[0], str):
            return answer
        made = answer["model"], answer["digest"]
        return [
            Picture(
                b64decode(one["data"]),
                f"image/{({**answer, **one})['format']}",
                *made,
                one.get("seed"),
                one.get("cycle_l1"),
                _decoded(one.get("mask")),
            )
            for one in images
        ]


def _decoded(file: str | None) -> bytes | None:
    return None if file is None else b64decode(file)

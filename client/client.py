"""A method for each thing that the service does, and any of them as a job."""

import copy
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, Unpack

from requests import RequestException, Response, Session

from client.answers import Job, Picture, ServiceError, error_of, result_of
from client.options import Interpolation, Protocol, Sampling, Scoring, Translation

T = TypeVar("T")
P = ParamSpec("P")
Fields = Mapping[str, Any]
Image = str | Path | bytes
Images = Image | Sequence[Image]  # a path may be of a folder; of a set, also of an archive or an .npz of statistics
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


class Client:
    """One service. Where it is busy (429, 503), a request is sent again when it says, for up to `patience_s`."""

    def __init__(
        self, url: str = "http://localhost:3000", *, api_key: str = "", timeout_s: float = 60, patience_s: float = 60
    ) -> None:
        self._url, self._timeout_s, self._patience_s = url.rstrip("/"), timeout_s, patience_s
        self._session = Session()
        self._session.headers.update({"Authorization": f"Bearer {api_key}"} if api_key else {})

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def models(self) -> list[dict[str, Any]]:
        """A card for each version of each model."""
        return self.request("GET", "/v1/models").json()["models"]

    def sample(self, n: int | None = None, **options: Unpack[Sampling]) -> list[Picture]:
        """n new images; of a single seed s, image i has seed s + i."""
        label = options.pop("classes", None)
        return self._call("sample", {"n": n, "class": label, "output": "json", **options})

    def interpolate(self, seeds: Sequence[int] | None = None, **options: Unpack[Interpolation]) -> Picture:
        """What lies between keyframes, as one file; of a map, the four keyframes are its corners."""
        return self._call("interpolate", {"seeds": seeds, **options})

    def translate(self, image: Image, **options: Unpack[Translation]) -> Picture:
        """A photo in the other domain, at its own size. `direction` is a_to_b, b_to_a or the domain to go to."""
        return self._call("translate", {"output": "image", **options}, images=image)

    def translate_many(self, images: Images, **options: Unpack[Translation]) -> list[Picture]:
        return self._call("translate", {"output": "json", **options}, images=images)

    def inspect(self, image: Image) -> dict[str, Any]:
        """What an image says of its origin: model, digest, seed, and the request that makes it again."""
        return self._call("inspect", {}, image=image)

    def score(self, a: Images | None = None, b: Images | None = None, **options: Unpack[Scoring]) -> dict[str, Any]:
        """How far `a` is from `b`. It runs as a job, which this waits for; `submit` it to see its progress."""
        return self._call("score", {**options, "metrics": ",".join(options.get("metrics", ["fid"]))}, a=a, b=b)

    def references(self) -> list[dict[str, Any]]:
        return self.request("GET", "/v1/references").json()["references"]

    def add_reference(self, name: str, images: Images, protocol: Protocol = "pytorch-fid") -> dict[str, Any]:
        """Keeps the statistics of a set, or of an .npz, under a name; as a job, like `score`."""
        return self._call("reference", {"name": name, "protocol": protocol}, images=images)

    def reference_npz(self, name: str) -> bytes:
        """The reference's numbers, a file that pytorch-fid reads."""
        return self.request("GET", f"/v1/references/{name}/npz").content

    def delete_reference(self, name: str) -> None:
        self.request("DELETE", f"/v1/references/{name}")

    def submit(self, method: Callable[P, T], /, *args: P.args, **options: P.kwargs) -> Job[T]:
        """A call as a job: `client.submit(client.sample, 5000, seed=1).wait(print)`."""
        later = copy.copy(self)
        later._call = self._submit  # type: ignore[method-assign]
        return getattr(later, method.__name__)(*args, **options)

    def job(self, job_id: str) -> Job[Any]:
        """One that was submitted before."""
        return Job(job_id, self.request)

    def request(self, method: str, path: str, body: Fields | None = None, **files: Images | None) -> Response:
        """Any endpoint: `body`, without its None, goes as JSON, beside files as a form. Raises ServiceError."""
        given = {name: value for name, value in (body or {}).items() if value is not None}
        parts = [part for field, images in files.items() if images is not None for part in _parts(field, images)]
        # One key for a request and what repeats it: a job whose answer was lost is not begun twice.
        sent: dict[str, Any] = {"headers": {"Idempotency-Key": uuid.uuid4().hex}, "timeout": self._timeout_s}
        if parts:
            sent["files"] = [*((name, (None, str(value))) for name, value in given.items()), *parts]
        elif body is not None:
            sent["headers"]["Content-Type"] = "application/json"
            sent["data"] = json.dumps(given, default=_plain)
        end = time.monotonic() + self._patience_s
        try:
            while not (response := self._session.request(method, self._url + path, **sent)).ok:
                error = error_of(response)
                if error.retry_after_s is None or time.monotonic() + error.retry_after_s > end:
                    raise error
                time.sleep(error.retry_after_s)
        except RequestException as error:
            raise ServiceError(f"{self._url} cannot be reached: {error}") from error
        return response

    def _call(self, name: str, body: Fields, **files: Images | None) -> Any:
        if name in ("score", "reference"):  # no request has to last as long
            return self._submit(name, body, **files).wait()
        return result_of(self.request("POST", f"/v1/{name}", body, **files))

    def _submit(self, name: str, body: Fields, **files: Images | None) -> Job[Any]:
        return Job(self.request("POST", f"/v1/jobs/{name}", body, **files).json()["id"], self.request)


def _plain(value: Any) -> object:
    """What JSON has no word for: numpy's arrays and numbers, ranges."""
    return value.tolist() if hasattr(value, "tolist") else list(value)


def _parts(field: str, images: Images) -> list[tuple[str, tuple[str, bytes]]]:
    """Of a folder, the images in it and below, by name. Raises OSError, ValueError."""
    parts: list[tuple[str, tuple[str, bytes]]] = []
    for image in [images] if isinstance(images, str | Path | bytes) else images:
        if isinstance(image, bytes):
            parts.append((field, (f"image-{len(parts)}", image)))
        else:
            inside = sorted(path for path in Path(image).rglob("*") if path.suffix.lower() in _SUFFIXES)
            found = inside if Path(image).is_dir() else [Path(image)]
            parts += [(field, (path.name, path.read_bytes())) for path in found]
    if not parts:
        raise ValueError(f"{images!r} holds no image.")
    return parts

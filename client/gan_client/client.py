"""A method for each thing that the service does, and any of them as a job."""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ParamSpec, TypeVar, Unpack
from urllib.parse import quote

from requests import PreparedRequest, RequestException, Response, Session

from gan_client.answers import Picture, ServiceError, error_of, field_of, json_of, result_of
from gan_client.calls import Call, Fields, Request, call
from gan_client.images import Image, Images, parts
from gan_client.jobs import Job
from gan_client.options import Directing, Encoding, Interpolation, Protocol, Sampling, Scoring, Translation

T = TypeVar("T")
P = ParamSpec("P")
DEFAULT_URL = "http://localhost:3000"
_ALWAYS_JOBS = ("score", "reference")  # no request has to last as long


class Client:
    """One service. Where it is busy (429, 503), a request is sent again when it says, for up to `patience_s`. The
    service tells `callback`, an address that its operator allows, of the end of every job that this client submits."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str = "",
        callback: str | None = None,
        timeout_s: float = 60,
        patience_s: float = 60,
    ) -> None:
        self._callback = callback
        self._url, self._timeout_s, self._patience_s = url.rstrip("/"), timeout_s, patience_s
        self._session = Session()
        if not (api_key.isascii() and api_key.isprintable()):
            raise ValueError("An API key consists of visible ASCII characters.")
        if api_key:
            self._session.auth = _Bearer(api_key)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def models(self) -> list[dict[str, Any]]:
        """A card for each version of each model."""
        return field_of(self.request("GET", "/v1/models"), "models")

    @call
    def sample(self, n: int | None = None, **options: Unpack[Sampling]) -> Request[list[Picture]]:
        """n new images; of a single seed s, image i has seed s + i."""
        label = options.pop("classes", None)
        return Request("sample", {"n": n, "class": label, "output": "json", **options})

    @call
    def interpolate(
        self, seeds: Sequence[int] | None = None, images: Images | None = None, **options: Unpack[Interpolation]
    ) -> Request[Picture]:
        """What lies between keyframes, as one file; of a map, the four keyframes are its corners.

        Photos, which need a model with an encoder, are keyframes before the seeds.
        """
        return Request("interpolate", {"seeds": seeds, **options}, {"images": images})

    @call
    def encode(self, images: Images, **options: Unpack[Encoding]) -> Request[dict[str, Any]]:
        """The latents of photos, and how near what they draw is; for a model without an encoder, `submit` it."""
        return Request("encode", {**_with_class(options), "output": "json"}, {"images": images})

    @call
    def reconstruct(self, image: Image, **options: Unpack[Encoding]) -> Request[Picture]:
        """What the model draws from the place of one photo."""
        return Request("encode", {**_with_class(options), "output": "image"}, {"images": image})

    @call
    def translate(self, image: Image, allowed: Image | None = None, **options: Unpack[Translation]) -> Request[Picture]:
        """A photo in the other domain, at its own size. `direction` is a_to_b, b_to_a or the domain to go to.

        `allowed` is a grey picture of its size: white may change, black stays. For the model's own mask ask
        `translate_many`, whose pictures have it with `mask=True`.
        """
        return Request("translate", {"output": "image", **options}, {"images": image, "mask": allowed})

    @call
    def translate_many(
        self, images: Images, allowed: Images | None = None, **options: Unpack[Translation]
    ) -> Request[list[Picture]]:
        """As many as one request takes, and masks of what may change, one for all or one for each; `gan translate` goes
        through a folder of any size."""
        return Request("translate", {"output": "json", **options}, {"images": images, "mask": allowed})

    @call
    def inspect(self, image: Image) -> Request[dict[str, Any]]:
        """What an image says of its origin: model, digest, seed, and the request that makes it again."""
        return Request("inspect", {}, {"image": image})

    @call
    def score(
        self, a: Images | None = None, b: Images | None = None, **options: Unpack[Scoring]
    ) -> Request[dict[str, Any]]:
        """How far `a` is from `b`. It runs as a job, which this waits for; `submit` it to see its progress."""
        return Request("score", {**options, "metrics": ",".join(options.get("metrics", ["fid"]))}, {"a": a, "b": b})

    @call
    def add_reference(
        self, name: str, images: Images, protocol: Protocol = "pytorch-fid", extractor: str | None = None
    ) -> Request[dict[str, Any]]:
        """Keeps the statistics of a set, or of an .npz, under a name; as a job, like `score`.

        `extractor` names one that the operator offers in the Inception's place.
        """
        by = {} if extractor is None else {"extractor": extractor}
        return Request("reference", {"name": name, "protocol": protocol, **by}, {"images": images})

    def references(self) -> list[dict[str, Any]]:
        """All that are kept, by name."""
        return field_of(self.request("GET", "/v1/references"), "references")

    def reference_npz(self, name: str) -> bytes:
        """The reference's numbers, a file that pytorch-fid reads."""
        return self.request("GET", f"/v1/references/{quote(name, safe='')}/npz").content

    def delete_reference(self, name: str) -> None:
        self.request("DELETE", f"/v1/references/{quote(name, safe='')}")

    def add_direction(
        self, name: str, a: Images | None = None, b: Images | None = None, **options: Unpack[Directing]
    ) -> dict[str, Any]:
        """Keeps the direction that leads from one set to another; each is of photos, of seeds or of latents."""
        body: Fields = {"name": name, **options}
        return json_of(self.request("POST", "/v1/directions", body, a=a, b=b))

    def directions(self) -> list[dict[str, Any]]:
        """All that are kept, by name; what a model has of its own stands on its card."""
        return field_of(self.request("GET", "/v1/directions"), "directions")

    def delete_direction(self, name: str) -> None:
        self.request("DELETE", f"/v1/directions/{quote(name, safe='')}")

    def submit(self, method: Call[P, T], /, *args: P.args, **options: P.kwargs) -> Job[T]:
        """A call as a job: `client.submit(client.sample, 5000, seed=1).wait(print)`."""
        return self._job(method.request(*args, **options))

    def job(self, job_id: str) -> Job[Any]:
        """One that was submitted before."""
        return Job(job_id, self)

    def answer(self, request: Request[T]) -> T:
        """What comes of a request, once it is there."""
        if request.name in _ALWAYS_JOBS:
            return self._job(request).wait()
        return result_of(self.request("POST", f"/v1/{request.name}", request.body, **request.files))

    def request(self, method: str, path: str, body: Fields | None = None, **files: Images | None) -> Response:
        """Any endpoint: `body`, without its None, goes as JSON, beside files as a form. Raises ServiceError."""
        given = {name: value for name, value in (body or {}).items() if value is not None}
        sets = [part for field, images in files.items() if images is not None for part in parts(field, images)]
        # One key for a request and what repeats it: a job whose answer was lost is not begun twice.
        sent: dict[str, Any] = {"headers": {"Idempotency-Key": uuid.uuid4().hex}, "timeout": self._timeout_s}
        if sets:
            sent["files"] = [*((name, (None, _text(value))) for name, value in given.items()), *sets]
        elif body is not None:
            sent["headers"]["Content-Type"] = "application/json"
            sent["data"] = json.dumps(given, default=_plain)
        return self._answered(method, path, sent)

    def fetch(self, path: str, start: int = 0) -> Response:
        """GET, with the body still to come, from byte `start` on where the server can (206). Raises ServiceError."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        return self._answered("GET", path, {"headers": headers, "stream": True, "timeout": self._timeout_s})

    def stream(self, path: str, headers: Mapping[str, str], silence_s: float) -> Response:
        """An answer that comes in its own time, whose reader closes it; `silence_s` is the longest pause in it."""
        sent = {"headers": headers, "stream": True, "timeout": (self._timeout_s, silence_s)}
        return self._answered("GET", path, sent)

    def _answered(self, method: str, path: str, sent: Mapping[str, Any]) -> Response:
        end = time.monotonic() + self._patience_s
        try:
            while not (response := self._session.request(method, self._url + path, **sent)).ok:
                error = error_of(response)
                if error.retry_after_s is None or time.monotonic() + error.retry_after_s > end:
                    raise error
                time.sleep(error.retry_after_s)
        except RequestException as error:
            raise ServiceError(f"{self._url} cannot be reached: {_cause(error)}") from error
        return response

    def _job(self, request: Request[T]) -> Job[T]:
        body = {**request.body, "callback": self._callback}
        submitted = self.request("POST", f"/v1/jobs/{request.name}", body, **request.files)
        return Job(field_of(submitted, "id"), self)


class _Bearer:
    """As `auth`, since a header alone gives way to what ~/.netrc says of the host."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def _cause(error: BaseException) -> str:
    """The operating system's word, where the exceptions around it print themselves and one another."""
    while error.__context__ is not None:
        error = error.__context__
    return getattr(error, "strerror", None) or str(error)


def _with_class(options: Encoding) -> dict[str, Any]:
    """`classes` under the name that the service has for it."""
    return {"class" if name == "classes" else name: value for name, value in options.items()}


def _text(value: Any) -> str:
    """What a form takes: lists as JSON, other values as they are printed."""
    return str(value) if isinstance(value, str | int | float) else json.dumps(value, default=_plain)


def _plain(value: Any) -> object:
    """What JSON has no word for: numpy's arrays and numbers, ranges."""
    return value.tolist() if hasattr(value, "tolist") else list(value)

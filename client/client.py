"""The methods: one for each thing that the service does."""

import base64
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal
from uuid import uuid4

import requests

from client.sets import Image, ImageSet, files_of, side_of
from client.transport import Files, Job, Picture, Progress, Transport

Format = Literal["png", "jpeg", "webp"]


class Client:
    """One service. Use it as a context manager, or call `close`.

    Args:
        url: the service's address, such as "http://localhost:3000".
        api_key: sent as a bearer token, where the service asks for keys.
        timeout_s: for each request; longer work goes as a job.
    """

    def __init__(
        self, url: str = "http://localhost:3000", *, api_key: str | None = None, timeout_s: float = 60
    ) -> None:
        self._transport = Transport(url, api_key, timeout_s)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def models(self) -> list[dict[str, Any]]:
        """A card for each version of each model."""
        cards: list[dict[str, Any]] = self._transport.request("GET", "/v1/models").json()["models"]
        return cards

    def sample(
        self,
        n: int | None = None,
        *,
        model: str | None = None,
        seed: int | Sequence[int] | None = None,
        latents: Sequence[Sequence[float]] | None = None,
        classes: int | str | Sequence[int | str] | None = None,
        truncation: float | None = None,
        image_format: Format = "png",
    ) -> list[Picture]:
        """Draws n images, by default as many as there are seeds, latents or classes, or 1.

        Image i of a single seed s has seed s + i.
        """
        body = {
            "model": model,
            "n": n,
            "seed": seed,
            "latents": latents,
            "class": classes,
            "truncation": truncation,
            "output": "json",
            "format": image_format,
        }
        answer = self._transport.request("POST", "/v1/sample", json=body).json()
        made, by = f"image/{image_format}", (answer["model"], answer["digest"])
        return [Picture(base64.b64decode(one["data"]), made, *by, one["seed"]) for one in answer["images"]]

    def interpolate(
        self,
        seeds: Sequence[int] | None = None,
        *,
        model: str | None = None,
        latents: Sequence[Sequence[float]] | None = None,
        classes: Sequence[int | str] | None = None,
        steps: int = 8,
        shape: Literal["path", "map"] = "path",
        method: Literal["slerp", "lerp"] = "slerp",
        loop: bool = False,
        truncation: float | None = None,
        output: Literal["strip", "gif", "webp", "apng"] = "strip",
        frame_ms: int = 80,
    ) -> Picture:
        """What lies between keyframes, as one image or an animation; of a map, the four keyframes are its corners."""
        body = {
            "model": model,
            "seeds": seeds,
            "latents": latents,
            "classes": classes,
            "steps": steps,
            "shape": shape,
            "method": method,
            "loop": loop,
            "truncation": truncation,
            "output": output,
            "frame_ms": frame_ms,
        }
        return _picture(self._transport.request("POST", "/v1/interpolate", json=body))

    def translate(
        self,
        image: Image,
        *,
        model: str | None = None,
        direction: str | None = None,
        image_format: Format = "png",
        quality: int | None = None,
    ) -> Picture:
        """A photo in the other domain, at its own size. `direction` is a_to_b, b_to_a or the domain to go to."""
        form = {"model": model, "direction": direction, "output": "image", "format": image_format, "quality": quality}
        files = files_of("images", image)
        return _picture(self._transport.request("POST", "/v1/translate", form=form, files=files))

    def translate_many(
        self, images: Sequence[Image], *, model: str | None = None, direction: str | None = None, cycle: bool = False
    ) -> list[tuple[Picture, float | None]]:
        """(translation, difference of the round trip from 0 to 1) of each; without `cycle` the difference is None."""
        form = {"model": model, "direction": direction, "output": "json", "format": "png", "cycle": cycle}
        answer = self._transport.request("POST", "/v1/translate", form=form, files=files_of("images", images)).json()
        return [
            (Picture(base64.b64decode(one["data"]), "image/png", answer["model"], answer["digest"]), one["cycle_l1"])
            for one in answer["images"]
        ]

    def inspect(self, image: Image) -> dict[str, Any]:
        """What an image says of its origin: model, digest, seed, and the request that makes it again."""
        answer: dict[str, Any] = self._transport.request(
            "POST", "/v1/inspect", form={}, files=files_of("image", image)
        ).json()
        return answer

    def score(
        self,
        a: ImageSet,
        b: ImageSet,
        *,
        metrics: Sequence[str] = ("fid",),
        protocol: str = "pytorch-fid",
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """How far `a` is from `b`. Runs as a job and waits for it, so that no request has to last as long."""
        return self.submit_score(a, b, metrics=metrics, protocol=protocol).wait(progress)

    def submit_score(
        self, a: ImageSet, b: ImageSet, *, metrics: Sequence[str] = ("fid",), protocol: str = "pytorch-fid"
    ) -> Job[dict[str, Any]]:
        """The same, without waiting."""
        (files_a, form_a), (files_b, form_b) = side_of("a", a), side_of("b", b)
        form = {**form_a, **form_b, "metrics": ",".join(metrics), "protocol": protocol}
        return self._submit("score", [*files_a, *files_b], form)

    def references(self) -> list[dict[str, Any]]:
        """The references that the service keeps, by name."""
        views: list[dict[str, Any]] = self._transport.request("GET", "/v1/references").json()["references"]
        return views

    def add_reference(
        self,
        name: str,
        images: Image | Sequence[Image],
        *,
        protocol: str = "pytorch-fid",
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Keeps the statistics of a set (or of an .npz) under a name. Runs as a job and waits for it."""
        form = {"name": name, "protocol": protocol}
        return self._submit("reference", files_of("images", images), form).wait(progress)

    def reference_npz(self, name: str) -> bytes:
        """The reference's numbers, a file that pytorch-fid reads."""
        return self._transport.request("GET", f"/v1/references/{name}/npz").content

    def delete_reference(self, name: str) -> None:
        self._transport.request("DELETE", f"/v1/references/{name}")

    def job(self, job_id: str) -> Job[requests.Response]:
        """A job that was submitted before; `wait` gives the HTTP answer as it is."""
        return Job(self._transport, job_id, lambda response: response)

    def _submit(self, name: str, files: Files, form: dict[str, Any]) -> Job[dict[str, Any]]:
        # One key for the request and whatever repeats it: a lost answer does not start the work twice.
        headers = {"Idempotency-Key": uuid4().hex}
        answer = self._transport.request("POST", f"/v1/jobs/{name}", form=form, files=files, headers=headers).json()
        return Job(self._transport, answer["id"], lambda response: dict(response.json()))


def _picture(response: requests.Response) -> Picture:
    headers = response.headers
    return Picture(response.content, headers["Content-Type"], headers["X-Model"], headers["X-Digest"])

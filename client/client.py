"""The methods: one for each thing that the service does."""

import base64
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from client.transport import Picture, Transport

Image = str | Path | bytes
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
        n: int = 1,
        *,
        model: str | None = None,
        seed: int | Sequence[int] | None = None,
        latents: Sequence[Sequence[float]] | None = None,
        classes: int | str | Sequence[int | str] | None = None,
        truncation: float | None = None,
        image_format: Format = "png",
    ) -> list[Picture]:
        """Draws n images; image i of base seed s has seed s + i. Lists of seeds, latents or classes need length n."""
        body = {
            "model": model,
            "n": n,
            "seed": seed if seed is None or isinstance(seed, int) else list(seed),
            "latents": None if latents is None else [list(map(float, row)) for row in latents],
            "class": classes if classes is None or isinstance(classes, int | str) else list(classes),
            "truncation": truncation,
            "output": "json",
            "format": image_format,
        }
        answer = self._transport.request("POST", "/v1/sample", json=body).json()
        return [
            Picture(
                base64.b64decode(image["data"]),
                f"image/{image['format']}",
                answer["model"],
                answer["digest"],
                image["seed"],
            )
            for image in answer["images"]
        ]

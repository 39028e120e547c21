"""What is to be drawn for a sample, and the files that it becomes."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

import numpy as np

import models
from models.images import Pixels
from models.origin import SOURCE_TYPES, Origin
from service.encoding import pictures
from service.encoding.packing import JsonPack, NpzPack, ZipPack
from service.encoding.pictures import ImageFormat
from service.encoding.writer import Writer
from service.endpoints.fields import MAX_IMAGES
from service.endpoints.provenance import origin_of
from service.engine.sampler import Latents, Sampler
from service.registry.checkpoints import Served

_HEADER = 2000  # characters of a list of seeds; proxies take 4 kB for all headers


@dataclass(frozen=True)
class Plan:
    """What to draw: `seeds` is None for given latents and for sums; `steps` are the directions that are in `rows`."""

    served: Served[Sampler]
    rows: Latents
    seeds: list[int] | None
    truncation: float | None
    steps: Mapping[str, float] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.rows.latents)

    def origin(self, index: int) -> Origin:
        """What an image carries, so that it can be made again."""
        text = {}
        if self.seeds is not None:
            text["seed"] = str(self.seeds[index])
        if self.seeds is None or self.steps:  # a direction may be gone when the image is to be made again
            text["latent"] = pictures.base64_of(self.rows.latents[index].numpy().tobytes())
            text["space"] = self.rows.space
        if self.steps:
            text["directions"] = json.dumps(self.steps)
        if self.truncation is not None:
            text["truncation"] = repr(self.truncation)
        if self.rows.classes is not None:
            text["class"] = str(int(self.rows.classes[index].argmax()))
        return origin_of(self.served, "trainedAlgorithmicMedia", text)


def grid(writer: Writer, plan: Plan, pixels: Pixels, kind: ImageFormat, quality: int) -> bytes:
    text = {"seeds": _listed(plan.seeds or [])}
    if plan.steps:
        text["directions"] = json.dumps(plan.steps)
    origin = origin_of(plan.served, "trainedAlgorithmicMedia", text)
    return writer.image(models.grid(pixels), kind, quality, origin)


def file_of(writer: Writer, plan: Plan, kind: ImageFormat, quality: int, index: int, pixels: Pixels) -> bytes:
    return writer.image(pixels, kind, quality, plan.origin(index))


_File = Callable[[int, Pixels], bytes]
"""An image and its number to a file of the kind asked for."""


class Pack(Protocol):
    """Takes (index, uint8 [h, w, c]), in order."""

    def add(self, numbered: tuple[int, Pixels]) -> None: ...

    def close(self) -> None: ...


class _Zip:
    """Files that are named by number and seed."""

    def __init__(self, out: BinaryIO, plan: Plan, file: _File, kind: ImageFormat) -> None:
        self._pack, self._plan, self._file, self._kind = ZipPack(out), plan, file, kind
        self._digits = max(3, len(str(plan.count - 1)))

    def add(self, numbered: tuple[int, Pixels]) -> None:
        index, _ = numbered
        seed = "" if self._plan.seeds is None else f"_seed{self._plan.seeds[index]}"
        self._pack.add(f"{index:0{self._digits}d}{seed}.{self._kind}", self._file(*numbered))

    def close(self) -> None:
        self._pack.close()


class _Npz:
    """Arrays: images uint8 [n, h, w, c], latents float32 [n, latent], seeds int64 [n], and what made them."""

    def __init__(self, out: BinaryIO, plan: Plan, file: _File, kind: ImageFormat) -> None:
        self._pack, self._plan = NpzPack(out, "images", plan.count), plan

    def add(self, numbered: tuple[int, Pixels]) -> None:
        self._pack.add(numbered[1])

    def close(self) -> None:
        about = {
            "latents": self._plan.rows.latents.numpy(),
            "model": np.array(self._plan.served.id),
            "digest": np.array(self._plan.served.digest),
            "digital_source_type": np.array(SOURCE_TYPES + "trainedAlgorithmicMedia"),
        }
        seeds = {} if self._plan.seeds is None else {"seeds": np.array(self._plan.seeds, np.int64)}
        self._pack.close({**about, **seeds})


class _Json:
    """A `SampleAnswer`."""

    def __init__(self, out: BinaryIO, plan: Plan, file: _File, kind: ImageFormat) -> None:
        self._file, self._kind = file, kind
        self._seeds: Sequence[int | None] = plan.seeds or [None] * plan.count
        head = {"model": plan.served.id, "digest": plan.served.digest, "seeds": self._seeds}
        self._pack = JsonPack(out, head, "images")

    def add(self, numbered: tuple[int, Pixels]) -> None:
        seed, data = self._seeds[numbered[0]], pictures.base64_of(self._file(*numbered))
        self._pack.add({"seed": seed, "format": self._kind, "data": data})

    def close(self) -> None:
        self._pack.close()


PACKS: Mapping[str, Callable[[BinaryIO, Plan, _File, ImageFormat], Pack]] = {"zip": _Zip, "npz": _Npz, "json": _Json}


def _listed(seeds: Sequence[int]) -> str:
    """`7,8,9`; of a job's thousands, which follow one another, `7..5006`."""
    return f"{seeds[0]}..{seeds[-1]}" if len(seeds) > MAX_IMAGES else ",".join(map(str, seeds))


def headers_of(plan: Plan) -> dict[str, str]:
    """Headers of binary answers: what made the image. Seeds that the client listed and that are too long stay out."""
    headers = {"X-Model": plan.served.id, "X-Digest": plan.served.digest}
    if plan.seeds is not None:
        text = _listed(plan.seeds)
        if len(text) <= _HEADER:
            headers["X-Seeds"] = text
        elif plan.seeds == models.sample_seeds(plan.seeds[0], plan.count):
            headers["X-Seeds"] = f"{plan.seeds[0]}..{plan.seeds[-1]}"
    return headers

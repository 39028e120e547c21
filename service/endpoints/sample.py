"""POST /v1/sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

import models
from models.errors import InputError
from models.images import Pixels
from service.encoding import pictures
from service.encoding.pictures import ImageFormat
from service.endpoints.fields import MAX_IMAGES, Body, Latent, ModelName, Quality, Seed, Truncation
from service.engine import patience
from service.engine.classes import ClassLabel, class_weights, default_classes
from service.engine.sampler import Latents, Sampler
from service.http import accept
from service.http.operation import Call, Operation
from service.registry.registry import Served
from service.runtime import Core

MAX_JOB_IMAGES = 10_000


class SampleRequest(Body):
    """New images: by seed, by a list of seeds, or from latents of one's own."""

    model: ModelName | None = None
    n: Annotated[int, Field(ge=1, le=MAX_IMAGES)] | None = Field(
        None, description="How many; by default as many as there are seeds, latents or classes, or 1."
    )
    seed: Seed | Annotated[list[Seed], Field(min_length=1, max_length=MAX_IMAGES)] | None = Field(
        None, description="Image i uses seed + i; or one seed for each image. Without it, one is drawn and told."
    )
    latents: Annotated[list[Latent], Field(min_length=1, max_length=MAX_IMAGES)] | None = Field(
        None, description="One latent vector for each image, in place of seeds."
    )
    classes: ClassLabel | Annotated[list[ClassLabel], Field(min_length=1, max_length=MAX_IMAGES)] | None = Field(
        None,
        alias="class",
        description="Number or name; one for all, or one for each image. By default seed modulo the number of classes.",
    )
    truncation: Truncation | None = None
    output: Literal["image", "grid", "zip", "npz", "json"] | None = Field(
        None, description="By default what Accept asks for; failing that, an image for one and a zip for more."
    )
    format: ImageFormat | None = Field(None, description="By default what Accept asks for; failing that, png.")
    quality: Quality = 90


class SampleJob(SampleRequest):
    """The same, and more of them, as a job."""

    n: Annotated[int, Field(ge=1, le=MAX_JOB_IMAGES)] | None = Field(
        None, description="How many; by default as many as there are seeds, latents or classes, or 1."
    )


class SampleImage(BaseModel):
    """One image of a JSON answer."""

    seed: int | None = Field(description="None where latents were given.")
    format: ImageFormat
    data: str = Field(description="The image file, base64.")


class SampleAnswer(BaseModel):
    """The answer of /v1/sample as JSON."""

    model: str
    digest: str
    seeds: list[int | None]
    images: list[SampleImage]


_SMALL = 64 * 64 * 3  # values; one such image is encoded sooner than another thread is woken


@dataclass(frozen=True)
class Plan:
    """What to draw: `seeds` is None for latents that the client gave."""

    served: Served
    rows: Latents
    seeds: list[int] | None
    truncation: float | None

    @property
    def count(self) -> int:
        return len(self.rows.latents)

    def text(self, index: int) -> dict[str, str]:
        """What a PNG carries, so that the image can be made again."""
        text = {"gan.model": self.served.id, "gan.digest": self.served.digest}
        if self.seeds is None:
            text["gan.latent"] = pictures.base64_of(self.rows.latents[index].numpy().tobytes())
        else:
            text["gan.seed"] = str(self.seeds[index])
        if self.truncation is not None:
            text["gan.truncation"] = repr(self.truncation)
        if self.rows.classes is not None:
            text["gan.class"] = str(int(self.rows.classes[index].argmax()))
        return text


async def sample(core: Core, call: Call) -> Response:
    """Seeds or latents to images, in the form that was asked for."""
    request: SampleRequest = call.body
    served = core.registry.get(request.model, Sampler)
    plan = make_plan(served, request)
    choice = accept.choose(call.request.headers.get("accept", ""), request.output, request.format, plan.count)
    assert isinstance(served.unit, Sampler)
    pixels = await patience.images(served.unit, plan.rows, call.progress)
    core.served("sample", served.source.name, pixels, drift=served.source.name)
    if pixels.size <= _SMALL:
        content, media = pack(pixels, plan, choice, request.quality)
    else:
        content, media = await core.encode(pack, pixels, plan, choice, request.quality)
    if isinstance(content, dict):
        return JSONResponse(content)
    return Response(content, media_type=media, headers=provenance(plan))


def make_plan(served: Served, request: SampleRequest) -> Plan:
    """Turns a request into latents and classes; raises InputError where its parts contradict each other."""
    network = served.unit.network
    assert isinstance(network, models.Generator)
    if request.latents is not None and (request.seed is not None or request.truncation is not None):
        raise InputError("Give latents, or seed and truncation, not both.", where="latents")
    count = _count(request)
    seeds = None
    if request.latents is not None:
        if any(len(row) != network.latent_size for row in request.latents):
            raise InputError(f"Each latent of {served.id} has {network.latent_size} numbers.", where="latents")
        latents = torch.tensor(request.latents, dtype=torch.float32)
    else:
        seeds = request.seed if isinstance(request.seed, list) else None
        if seeds is None:
            base = models.random_seed() if request.seed is None else request.seed
            assert isinstance(base, int)
            seeds = models.sample_seeds(base, count)
        latents = models.draw(seeds, network.latent_size, truncation=request.truncation)
    labels = request.classes if request.classes is not None or seeds is None else default_classes(network, seeds)
    classes = class_weights(network, labels, count)
    return Plan(served, Latents(latents, classes), seeds, request.truncation)


def _count(request: SampleRequest) -> int:
    lists = {
        name: len(value)
        for name, value in (("seed", request.seed), ("latents", request.latents), ("class", request.classes))
        if isinstance(value, list)
    }
    counts = {*lists.values(), *([request.n] if request.n is not None else [])}
    if len(counts) > 1:
        given = ", ".join(f"{name} has {length}" for name, length in lists.items())
        raise InputError(f"The lists differ in length, or from n: {given}.", where=next(iter(lists)))
    return counts.pop() if counts else 1


def pack(pixels: Pixels, plan: Plan, choice: accept.Choice, quality: int) -> tuple[bytes | dict[str, object], str]:
    """(content, media type) of the answer."""
    kind = choice.format
    seeds: Sequence[int | None] = plan.seeds or [None] * plan.count
    texts = [plan.text(index) for index in range(plan.count)]
    if choice.output == "grid":
        text = {"gan.model": plan.served.id, "gan.digest": plan.served.digest, "gan.seeds": seed_list(plan)}
        return pictures.encode(models.grid(pixels), kind, quality, text), pictures.MEDIA[kind]
    if choice.output == "npz":
        arrays: Mapping[str, np.ndarray] = {"images": pixels, "latents": plan.rows.latents.numpy()}
        if plan.seeds is not None:
            arrays = {**arrays, "seeds": np.array(plan.seeds, np.int64)}
        return pictures.npz_of(arrays), pictures.MEDIA["npz"]
    files = pictures.files(pixels, kind, quality, texts)
    if choice.output == "image":
        return files[0], pictures.MEDIA[kind]
    if choice.output == "zip":
        digits = max(3, len(str(plan.count - 1)))
        names = [f"{i:0{digits}d}{'' if seed is None else f'_seed{seed}'}.{kind}" for i, seed in enumerate(seeds)]
        return pictures.zip_of(dict(zip(names, files, strict=True))), pictures.MEDIA["zip"]
    images = [
        {"seed": seed, "format": kind, "data": pictures.base64_of(file)}
        for seed, file in zip(seeds, files, strict=True)
    ]
    answer: dict[str, object] = {
        "model": plan.served.id,
        "digest": plan.served.digest,
        "seeds": seeds,
        "images": images,
    }
    return answer, pictures.MEDIA["json"]


def seed_list(plan: Plan) -> str:
    """`7,8,9`; for a job's thousands, which follow one another, `7..5006`: no HTTP library takes them in a header."""
    seeds = plan.seeds or []
    return f"{seeds[0]}..{seeds[-1]}" if len(seeds) > MAX_IMAGES else ",".join(map(str, seeds))


def provenance(plan: Plan) -> dict[str, str]:
    """Headers of binary answers: what made the image."""
    headers = {"X-Model": plan.served.id, "X-Digest": plan.served.digest}
    return headers if plan.seeds is None else {**headers, "X-Seeds": seed_list(plan)}


SAMPLE = Operation(
    "POST",
    "/v1/sample",
    "sample",
    "Draw images",
    sample,
    "generate",
    body=SampleRequest,
    answers={
        **{media: None for name, media in pictures.MEDIA.items() if name != "json"},
        "application/json": SampleAnswer,
    },
    headers={
        "X-Seeds": "The seed of each image, separated by commas.",
        "X-Model": "Name and version.",
        "X-Digest": "SHA-256 of the checkpoint.",
    },
    errors=(404, 406),
    examples={"four": {"n": 4, "seed": 7, "output": "grid"}},
)

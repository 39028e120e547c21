"""POST /v1/sample: seeds, latents or sums of them to images."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, Field

import models
from models.errors import InputError
from models.images import Pixels
from service.call import Answer, Call
from service.encoding import pictures
from service.encoding.pictures import ImageFormat
from service.endpoints.fields import MAX_IMAGES, Body, Latent, ModelName, Quality, Seed, Truncation
from service.endpoints.plans import PACKS, Plan, file_of, grid, headers_of
from service.endpoints.points import Space, Steps, Sum, Terms, at_home, given, step, sum_of, summed
from service.engine import patience
from service.engine.classes import ClassLabel, class_weights, default_classes
from service.engine.sampler import Latents, Sampler
from service.http import accept
from service.http.operation import Operation
from service.registry.checkpoints import Served
from service.runtime import Runtime

MAX_JOB_IMAGES = 10_000

Seeds = Annotated[list[Seed], Field(fail_fast=True, min_length=1, max_length=MAX_IMAGES)]
LatentRows = Annotated[list[Latent], Field(fail_fast=True, min_length=1, max_length=MAX_IMAGES)]
ClassLabels = Annotated[list[ClassLabel], Field(fail_fast=True, min_length=1, max_length=MAX_IMAGES)]
Output = Literal["image", "grid", "zip", "npz", "json"]


class SampleRequest(Body):
    """New images: by seed, by a list of seeds, from latents of one's own, or one of a sum of any of these."""

    model: ModelName | None = None
    n: Annotated[int, Field(ge=1, le=MAX_IMAGES)] | None = Field(
        None, description="How many; by default as many as there are seeds, latents or classes, or 1."
    )
    seed: Seed | Seeds | None = Field(
        None, description="Image i uses seed + i; or one seed for each image. Without it, one is drawn and told."
    )
    latents: LatentRows | None = Field(None, description="One latent vector for each image, in place of seeds.")
    combine: Terms | None = Field(None, description="One image of a weighted sum of seeds and latents, as it is.")
    space: Space = "z"
    directions: Steps | None = None
    classes: ClassLabel | ClassLabels | None = Field(
        None,
        alias="class",
        description="Number or name; one for all, or one for each image. By default seed modulo the number of classes.",
    )
    truncation: Truncation | None = None
    output: Output | None = Field(
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


_ONE: Mapping[str, Output] = {
    **dict.fromkeys(accept.IMAGES, "image"),
    "application/json": "json",
    "application/zip": "zip",
    "application/x-npz": "npz",
}
_SEVERAL: Mapping[str, Output] = {
    "application/zip": "zip",
    **dict.fromkeys(accept.IMAGES, "grid"),
    "application/json": "json",
    "application/x-npz": "npz",
}
_SMALL = 64 * 64 * 3  # values; one such image is encoded sooner than another thread is woken
_FEW = 16  # latents drawn in one go


@dataclass(frozen=True)
class Asked:
    """What a request comes to, whose parts fit each other and the model.

    Attributes:
        source: what is drawn from: points float32 [count, size] of the request's space, or a sum; None for seeds.
        classes: weights float32 [1 or count, classes], of all images or of each; None for the seeds' own.
        change: what directions add to each point, float32 [size of the model's home].
    """

    served: Served[Sampler]
    count: int
    output: Output
    kind: ImageFormat
    source: torch.Tensor | Sum | None
    classes: torch.Tensor | None
    change: torch.Tensor | None


async def prepare(runtime: Runtime, call: Call) -> Asked:
    """Raises InputError where the parts of a request contradict each other or the model, LimitError for a grid that no
    file holds, NotFoundError for models and directions, NotAcceptableError."""
    request: SampleRequest = call.body
    served = runtime.registry.sampler(request.model)
    count = _count(request)
    output = accept.choose(request.output, call.accept, _ONE if count == 1 else _SEVERAL)
    if output == "image" and count > 1:
        raise InputError(f"output=image holds one image, not {count}: use grid, zip, npz or json.", where="output")
    kind = request.format or accept.image_format(call.accept)
    if output == "grid":
        size = served.unit.network.image_size
        pictures.check_sheet(kind, *models.grid_size(count, size, size))
    served.unit.check_space(request.space)
    source = _source(served, request)
    classes = class_weights(served.unit.network, request.classes, 1)
    if source is not None:
        served.unit.check_classes(classes)
    change = await step(runtime, served, request.directions) if request.directions else None
    return Asked(served, count, output, kind, source, classes, change)


async def sample(runtime: Runtime, call: Call) -> Answer:
    """Seeds or latents to images, in the form that was asked for."""
    asked = await prepare(runtime, call)
    plan = await _plan(runtime, call, asked)
    if asked.output in ("image", "grid"):
        return await _one_picture(runtime, call, plan, asked.output, asked.kind)
    return await _packed(runtime, call, plan, asked.output, asked.kind)


async def _plan(runtime: Runtime, call: Call, asked: Asked) -> Plan:
    """Draws latents, with their classes."""
    request: SampleRequest = call.body
    served, count, classes = asked.served, asked.count, asked.classes
    network, space, seeds = served.unit.network, request.space, None
    if isinstance(asked.source, Sum):
        points = await summed(runtime, call, served, asked.source)
    elif asked.source is not None:
        points = asked.source
    else:
        seeds, space = _seeds(call.seed if request.seed is None else request.seed, count), "z"
        draw = partial(models.draw, latent_size=network.latent_size, truncation=request.truncation)
        few = [seeds[start : start + _FEW] for start in range(0, count, _FEW)]
        # With a small truncation the latents of a job take seconds to draw.
        points = draw(seeds) if count == 1 else torch.cat(await runtime.each(call, draw, few))
        if classes is None:
            classes = class_weights(network, default_classes(network, seeds), count)
    if asked.change is not None:
        points, space = await at_home(call, served.unit, points, space) + asked.change, network.home
    weights = None if classes is None else classes.expand(count, -1)
    return Plan(served, Latents(points, weights, space), seeds, request.truncation, request.directions or {})


def _source(served: Served[Sampler], request: SampleRequest) -> torch.Tensor | Sum | None:
    """Raises InputError where more than one thing says what is drawn from, or what is given does not fit the model."""
    if request.latents is not None and (request.seed is not None or request.truncation is not None):
        raise InputError("Give latents, or seed and truncation, not both.", where="latents")
    others = (request.seed, request.latents, request.truncation)
    if request.combine is not None and any(one is not None for one in others):
        raise InputError("Give combine, or seed, truncation or latents, not both.", where="combine")
    if request.latents is not None:
        return given(served, request.latents, request.space)
    return None if request.combine is None else sum_of(served, request.combine, request.space)


def _seeds(seed: int | list[int], count: int) -> list[int]:
    return seed if isinstance(seed, list) else models.sample_seeds(seed, count)


def _count(request: SampleRequest) -> int:
    lists = {
        name: len(value)
        for name, value in (("seed", request.seed), ("latents", request.latents), ("class", request.classes))
        if isinstance(value, list)
    }
    if request.combine is not None:
        if request.n not in (None, 1) or lists.get("class", 1) != 1:
            raise InputError("combine makes one image: leave n out.", where="n")
        return 1
    counts = {*lists.values(), *([request.n] if request.n is not None else [])}
    if len(counts) > 1:
        given = ", ".join(f"{name} has {length}" for name, length in lists.items())
        raise InputError(f"The lists differ in length, or from n: {given}.", where=next(iter(lists)))
    return counts.pop() if counts else 1


async def _one_picture(runtime: Runtime, call: Call, plan: Plan, output: Output, kind: ImageFormat) -> Answer:
    """An image, or all of them in a grid."""
    pixels = await patience.images(plan.served.unit, plan.rows, call.progress, call.show)
    _count_served(runtime, plan, pixels)
    quality, writer = call.body.quality, runtime.writer
    if output == "grid":
        content = await runtime.beside_the_loop(call, grid, writer, plan, pixels, kind, quality)
    elif pixels.size <= _SMALL and writer.signer is None:
        content = writer.image(pixels[0], kind, quality, plan.origin(0))
    else:
        content = await runtime.beside_the_loop(call, writer.image, pixels[0], kind, quality, plan.origin(0))
    return Answer(content, pictures.MEDIA[kind], headers_of(plan))


async def _packed(runtime: Runtime, call: Call, plan: Plan, output: Output, kind: ImageFormat) -> Answer:
    """Many images in one file, written as they are drawn."""
    out = call.out()
    pack = PACKS[output](out, plan, partial(file_of, runtime.writer, plan, kind, call.body.quality), kind)
    start, small = 0, False
    async for pixels in patience.parts(plan.served.unit, plan.rows, call.progress, call.show):
        _count_served(runtime, plan, pixels)
        numbered = list(enumerate(pixels, start))
        start += len(pixels)
        small = pixels.size <= _SMALL and not call.is_job and runtime.writer.signer is None
        if small:
            for one in numbered:
                pack.add(one)
        else:
            await runtime.each(call, pack.add, numbered)
    if small:
        pack.close()
    else:
        await runtime.beside_the_loop(call, pack.close)
    headers = {} if output == "json" else headers_of(plan)
    return Answer(out, pictures.MEDIA[output], headers)


def _count_served(runtime: Runtime, plan: Plan, pixels: Pixels) -> None:
    name = plan.served.source.name
    runtime.served("sample", name, pixels, drift=name)


SAMPLE = Operation(
    "POST",
    "/v1/sample",
    "sample",
    "Draw images",
    sample,
    "generate",
    prepare,
    body=SampleRequest,
    answers={
        **{media: None for name, media in pictures.MEDIA.items() if name != "json"},
        "application/json": SampleAnswer,
    },
    headers={
        "X-Seeds": "The seed of each image, separated by commas; FIRST..LAST where they are many and in a row.",
        "X-Model": "Name and version.",
        "X-Digest": "SHA-256 of the checkpoint.",
    },
    errors=(404, 406, 413),
    examples={
        "four": {"n": 4, "seed": 7, "output": "grid"},
        "direction": {"seed": 7, "directions": {"sefa-1": 1.5}},
    },
)

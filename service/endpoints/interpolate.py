"""POST /v1/interpolate: keyframes to frames."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

import models
from models.errors import InputError, LimitError
from models.images import Pixels
from service.encoding import pictures
from service.encoding.pictures import ImageFormat, animate
from service.endpoints.fields import Body, Latent, ModelName, Quality, Seed, Truncation
from service.engine import patience
from service.engine.classes import ClassLabel, class_weights, default_classes
from service.engine.sampler import Latents, Sampler
from service.errors import NotAcceptableError
from service.http import accept as accept_module
from service.http.operation import Call, Operation
from service.runtime import Core

MAX_KEYFRAMES = 32

MAX_FRAMES = 256

MAX_JOB_FRAMES = 10_000


class InterpolateRequest(Body):
    """A walk through latent space, or a map of it.

    Keyframes are seeds or latents, classes, or both; where one of the two is a single value, it holds for all. With
    classes alone, one seed is drawn for all of them, and told.
    """

    model: ModelName | None = None
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=MAX_KEYFRAMES)] | None = Field(
        None, description="One seed for each keyframe, or one for all of them."
    )
    latents: Annotated[list[Latent], Field(min_length=1, max_length=MAX_KEYFRAMES)] | None = Field(
        None, description="Latent vectors, in place of seeds."
    )
    classes: Annotated[list[ClassLabel], Field(min_length=1, max_length=MAX_KEYFRAMES)] | None = Field(
        None, description="One class for each keyframe, or one for all. By default seed modulo the number of classes."
    )
    truncation: Truncation | None = None
    shape: Literal["path", "map"] = Field(
        "path", description="map: four keyframes are the corners (top left, top right, bottom left, bottom right)."
    )
    method: Literal["slerp", "lerp"] = Field("slerp", description="How latents are interpolated; classes always lerp.")
    steps: Annotated[int, Field(ge=1, le=MAX_FRAMES)] = Field(
        8, description="Frames from one keyframe to the next; of a map, images along each side."
    )
    loop: bool = Field(False, description="Go on from the last keyframe to the first.")
    output: Literal["strip", "zip", "gif", "webp", "apng", "json"] | None = Field(
        None, description="By default what Accept asks for; failing that, a strip: all frames in one image."
    )
    format: ImageFormat | None = Field(None, description="Of a strip and of the images in a zip; by default png.")
    frame_ms: Annotated[int, Field(ge=10, le=10_000)] = Field(80, description="Of animations.")
    quality: Quality = 90


class InterpolateJob(InterpolateRequest):
    """The same with more steps, as a job."""

    steps: Annotated[int, Field(ge=1, le=MAX_JOB_FRAMES)] = 8


class InterpolateAnswer(BaseModel):
    """The answer of /v1/interpolate as JSON."""

    model: str
    digest: str
    seeds: list[int] | None = Field(description="Of the keyframes; null where latents were given.")
    frames: int
    columns: int = Field(description="Of a map; of a path, as many as there are frames.")
    images: list[str] = Field(description="Image files, base64, in order.")
    format: ImageFormat


Output = Literal["strip", "zip", "gif", "webp", "apng", "json"]
Blend = Callable[[torch.Tensor, torch.Tensor, float | torch.Tensor], torch.Tensor]
_FROM_ACCEPT: dict[str, Output] = {
    "image/gif": "gif",
    "image/webp": "webp",
    "image/apng": "apng",
    "image/png": "strip",
    "image/jpeg": "strip",
    "image/*": "strip",
    "*/*": "strip",
    "application/zip": "zip",
    "application/json": "json",
    "application/*": "json",
}
_ANIMATIONS = ("gif", "webp", "apng")
_STRIP_SIDE = 16_383  # pixels: WebP's own limit; JPEG's is four times that


@dataclass(frozen=True)
class Choice:
    """What to answer; `format` is of single images."""

    output: Output
    format: ImageFormat


async def interpolate(core: Core, call: Call) -> Response:
    """Draws the frames, all of them in shared batches, and packs them."""
    request: InterpolateRequest = call.body
    served = core.registry.get(request.model, Sampler)
    unit = served.unit
    assert isinstance(unit, Sampler)
    choice = choose(call.request.headers.get("accept", ""), request)
    if request.seeds is None and request.latents is None and request.classes:
        request = request.model_copy(update={"seeds": [models.random_seed()]})
    frames = plan_frames(unit.network, request, MAX_FRAMES if call.progress is None else MAX_JOB_FRAMES)
    count = len(frames.latents)
    columns = request.steps if request.shape == "map" else count
    if choice.output == "strip":
        _check_strip(unit.network.image_size, columns, count)
    pixels = await patience.images(unit, frames, call.progress)
    core.served("interpolate", served.source.name, pixels)  # what lies between samples is no sample
    text, headers = {"gan.model": served.id, "gan.digest": served.digest}, {"X-Frames": str(count)}
    if request.seeds:
        text["gan.seeds"] = headers["X-Seeds"] = ",".join(map(str, request.seeds))
    content = await core.encode(pack, pixels, choice, columns, request, text)
    headers |= {"X-Model": served.id, "X-Digest": served.digest}
    if isinstance(content, list):
        answer = InterpolateAnswer(
            model=served.id,
            digest=served.digest,
            seeds=request.seeds,
            frames=count,
            columns=columns,
            images=content,
            format=choice.format,
        )
        return JSONResponse(answer.model_dump(), headers=headers)
    media = pictures.MEDIA[choice.format] if choice.output == "strip" else _MEDIA[choice.output]
    return Response(content, media_type=media, headers=headers)


_MEDIA = {"gif": "image/gif", "webp": "image/webp", "apng": "image/apng", "zip": "application/zip"}


def choose(accept: str, request: InterpolateRequest) -> Choice:
    """The rule of encoders.py, for this endpoint's outputs."""
    wanted = accept_module.accepted(accept)
    made = {m: one for m, one in _FROM_ACCEPT.items() if request.shape == "path" or one not in _ANIMATIONS}
    output = request.output or next((made[media] for media in wanted if media in made), None)
    if output is None:
        raise NotAcceptableError(f"Accept allows none of: {', '.join(made)}.", where="accept")
    if request.shape == "map" and output in _ANIMATIONS:
        raise InputError("A map is no animation: ask for strip, zip or json.", where="output")
    jpeg = "image/jpeg" in wanted and "image/png" not in wanted
    return Choice(output, request.format or ("jpeg" if jpeg else "png"))


def plan_frames(network: models.Generator, request: InterpolateRequest, most: int) -> Latents:
    """Latents (and class weights) of every frame, in order.

    Raises InputError for keyframes that contradict each other or are too few, LimitError for more than `most` frames.
    """
    latents, classes = _keyframes(network, request)
    method: Blend = models.slerp if request.method == "slerp" else models.lerp
    pairs = ((latents, method), (classes, models.lerp))
    if request.shape == "map":
        if request.loop:
            raise InputError("A map has no loop.", where="loop")
        if len(latents) != 4:
            raise InputError(f"A map has four corners, not {len(latents)} keyframes.", where="seeds")
        _check_count(request.steps**2, most)
        mixed = [_map(one, request.steps, blend) for one, blend in pairs]
    else:
        if len(latents) < 2:
            raise InputError("A path has two keyframes or more, as seeds, latents or classes.", where="seeds")
        _check_count(len(latents) * request.steps if request.loop else (len(latents) - 1) * request.steps + 1, most)
        mixed = [_path(one, request.steps, request.loop, blend) for one, blend in pairs]
    return Latents(mixed[0], mixed[1] if network.classes else None)


def _check_count(count: int, most: int) -> None:
    """Before the frames' latents are made: a map of 10,000 x 10,000 has more than fit in memory."""
    if count > most:
        raise LimitError(
            f"These are {count:,} frames; a request makes {MAX_FRAMES}, a job {MAX_JOB_FRAMES:,}.", where="steps"
        )


def _keyframes(network: models.Generator, request: InterpolateRequest) -> tuple[torch.Tensor, torch.Tensor]:
    """(latents [k, latent], class weights [k, classes or 0])."""
    if (request.seeds is None) == (request.latents is None):
        raise InputError("Give the keyframes as seeds or as latents, one of the two, or as classes.", where="seeds")
    if request.latents is not None:
        if request.truncation is not None:
            raise InputError("Truncation goes with seeds, not with latents.", where="truncation")
        if any(len(row) != network.latent_size for row in request.latents):
            raise InputError(f"Each latent of this model has {network.latent_size} numbers.", where="latents")
        latents = torch.tensor(request.latents, dtype=torch.float32)
    else:
        latents = models.draw(request.seeds or [], network.latent_size, truncation=request.truncation)
    labels = request.classes or default_classes(network, request.seeds or [])
    if not labels and network.classes:
        raise InputError(f"This model needs classes: {', '.join(network.classes)}.", where="classes")
    weights = class_weights(network, labels, len(labels)) if labels else None
    weights = torch.zeros(1, 0) if weights is None else weights
    count = max(len(latents), len(weights))
    for name, one in (("seeds" if request.latents is None else "latents", latents), ("classes", weights)):
        if len(one) not in (1, count):
            raise InputError(f"{name} has {len(one)} entries, where 1 or {count} fit.", where=name)
    return latents.expand(count, -1), weights.expand(count, -1)


def _path(keys: torch.Tensor, steps: int, loop: bool, blend: Blend) -> torch.Tensor:
    """[k, x] -> [frames, x]: `steps` frames from each keyframe on, and without a loop the last keyframe."""
    ends = torch.cat([keys, keys[:1]]) if loop else keys
    t = (torch.arange(steps) / steps)[:, None]
    parts = [blend(start[None], end[None], t) for start, end in itertools.pairwise(ends)]
    return torch.cat([*parts, *([] if loop else [keys[-1:]])]).float()


def _map(corners: torch.Tensor, side: int, blend: Blend) -> torch.Tensor:
    """[4, x] -> [side * side, x], row by row."""
    t = torch.linspace(0, 1, side)[:, None] if side > 1 else torch.zeros(1, 1)
    top, bottom = blend(corners[0:1], corners[1:2], t), blend(corners[2:3], corners[3:4], t)
    return torch.cat([blend(top, bottom, float(row)) for row in t]).float()


def _check_strip(size: int, columns: int, count: int) -> None:
    rows = -(-count // columns)
    if max(columns, rows) * size > _STRIP_SIDE:
        raise LimitError(
            f"A strip of {columns} x {rows} images of {size} pixels is longer than {_STRIP_SIDE} pixels; ask for zip.",
            where="output",
        )


def pack(
    pixels: Pixels, choice: Choice, columns: int, request: InterpolateRequest, text: Mapping[str, str]
) -> bytes | list[str]:
    """The frames uint8 [n, h, w, c] as bytes, or as a list of base64 for JSON; `text` goes into PNGs."""
    if choice.output == "strip":
        return pictures.encode(models.grid(pixels, columns, padding=0), choice.format, request.quality, text)
    if choice.output in ("gif", "webp", "apng"):
        return animate(pixels, choice.output, request.frame_ms, request.quality, text)
    files = pictures.files(pixels, choice.format, request.quality, [text] * len(pixels))
    if choice.output == "zip":
        return pictures.zip_of({f"{index:05d}.{choice.format}": file for index, file in enumerate(files)})
    return [pictures.base64_of(file) for file in files]


INTERPOLATE = Operation(
    "POST",
    "/v1/interpolate",
    "interpolate",
    "Walk through latent space",
    interpolate,
    "generate",
    body=InterpolateRequest,
    answers={
        **dict.fromkeys(("image/png", "image/jpeg", "image/webp", "image/gif", "image/apng")),
        "application/zip": None,
        "application/json": InterpolateAnswer,
    },
    headers={
        "X-Seeds": "The seeds of the keyframes, separated by commas.",
        "X-Model": "Name and version.",
        "X-Digest": "SHA-256 of the checkpoint.",
        "X-Frames": "How many.",
    },
    errors=(404, 406),
    examples={
        "strip": {"seeds": [1, 2], "steps": 6},
        "animation": {"seeds": [1, 2, 3], "steps": 8, "loop": True, "output": "gif"},
        "map": {"seeds": [1, 2, 3, 4], "shape": "map", "steps": 5},
    },
)

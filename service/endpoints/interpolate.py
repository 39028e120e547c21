"""POST /v1/interpolate: keyframes to frames."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO, Literal

import torch
from pydantic import BaseModel, BeforeValidator, Field

import models
from models.errors import InputError, LimitError
from models.images import Pixels
from models.origin import Origin
from service.call import Answer, Call
from service.encoding import pictures
from service.encoding.packing import JsonPack, ZipPack
from service.encoding.pictures import ImageFormat
from service.encoding.writer import Writer
from service.endpoints.fields import Body, Latent, ModelName, Quality, Seed, Truncation, listed
from service.endpoints.points import Blend, Space, at_home, path, square
from service.endpoints.provenance import origin_of
from service.endpoints.squares import codes
from service.engine import patience
from service.engine.classes import ClassLabel, class_weights, default_classes
from service.engine.sampler import Latents, Sampler
from service.http import accept
from service.http.body import FileField
from service.http.operation import Operation
from service.registry.checkpoints import Served
from service.runtime import Runtime
from service.setting_values import NUMERAL

MAX_KEYFRAMES = 32
KEYFRAMES = Field(fail_fast=True, min_length=1, max_length=MAX_KEYFRAMES)

MAX_FRAMES = 256

MAX_JOB_FRAMES = 10_000

Output = Literal["strip", "zip", "gif", "webp", "apng", "json"]


class InterpolateRequest(Body):
    """A walk through latent space, or a map of it.

    Keyframes are seeds or latents, classes, or both; where one of the two is a single value, it holds for all. With
    classes alone, one seed is drawn for all of them, and told. Photos, for a model with an encoder, come in a form, and
    are keyframes before the seeds or latents.
    """

    model: ModelName | None = None
    seeds: Annotated[list[Seed], KEYFRAMES, BeforeValidator(listed)] | None = Field(
        None, description="One seed for each keyframe, or one for all of them."
    )
    latents: Annotated[list[Latent], KEYFRAMES, BeforeValidator(listed)] | None = Field(
        None, description="Latent vectors, in place of seeds."
    )
    space: Space = "z"
    classes: Annotated[list[ClassLabel], KEYFRAMES, BeforeValidator(listed)] | None = Field(
        None, description="One class for each keyframe, or one for all. By default seed modulo the number of classes."
    )
    truncation: Truncation | None = None
    shape: Literal["path", "map"] = Field(
        "path", description="map: four keyframes are the corners (top left, top right, bottom left, bottom right)."
    )
    method: Literal["slerp", "lerp"] | None = Field(
        None, description="How latents are interpolated: by default slerp, in the space w lerp; classes always lerp."
    )
    steps: Annotated[int, Field(ge=1, le=MAX_FRAMES), NUMERAL] = Field(
        8, description="Frames from one keyframe to the next; of a map, images along each side."
    )
    loop: bool = Field(False, description="Go on from the last keyframe to the first.")
    output: Output | None = Field(
        None, description="By default what Accept asks for; failing that, a strip: all frames in one image."
    )
    format: ImageFormat | None = Field(
        None, description="Of a strip and of single images; by default what Accept asks for; failing that, png."
    )
    frame_ms: Annotated[int, Field(ge=10, le=10_000), NUMERAL] = Field(
        80, description="Of animations; of a GIF 20 or more."
    )
    quality: Quality = 90


class InterpolateJob(InterpolateRequest):
    """The same with more steps, as a job."""

    steps: Annotated[int, Field(ge=1, le=MAX_JOB_FRAMES), NUMERAL] = 8


class InterpolateAnswer(BaseModel):
    """The answer of /v1/interpolate as JSON."""

    model: str
    digest: str
    seeds: list[int] | None = Field(description="Of the keyframes; null where latents were given.")
    frames: int
    columns: int = Field(description="Of a map; of a path, as many as there are frames.")
    format: ImageFormat
    images: list[str] = Field(description="Image files, base64, in order.")


_MAP: Mapping[str, Output] = {
    "image/png": "strip",
    "image/jpeg": "strip",
    "image/webp": "strip",
    "image/avif": "strip",
    "application/json": "json",
    "application/zip": "zip",
}
_PATH: Mapping[str, Output] = {**_MAP, "image/gif": "gif", "image/webp": "webp", "image/apng": "apng"}
_ANIMATIONS: Mapping[str, str] = {"gif": "image/gif", "webp": "image/webp", "apng": "image/apng"}
_SHORTEST_GIF_MS = 20  # browsers show frames that are to last less for 100 ms
_STRIP_SIDE = 16_383  # pixels: WebP's own limit; JPEG's is four times that


@dataclass(frozen=True)
class Frames:
    """What to draw: of a map in rows of `columns`. `seeds` are the keyframes', None for latents."""

    served: Served[Sampler]
    rows: Latents
    columns: int
    seeds: list[int] | None
    origin: Origin


async def interpolate(runtime: Runtime, call: Call) -> Answer:
    """Draws the frames, all of them in shared batches, and packs them."""
    request: InterpolateRequest = call.body
    photos = call.files["images"]
    served = runtime.registry.encoder(request.model) if photos else runtime.registry.sampler(request.model)
    unit = served.unit
    output = choose_output(call.accept, request)
    unit.check_space(request.space)
    if request.seeds is None and request.latents is None and request.classes:
        request = request.model_copy(update={"seeds": [call.seed]})
    most = MAX_JOB_FRAMES if call.is_job else MAX_FRAMES
    in_w = await _in_w(runtime, call, served, request) if photos or request.space == "w" else None
    rows = await runtime.beside_the_loop(call, plan_frames, unit.network, request, most, in_w)
    count = len(rows.latents)
    columns = request.steps if request.shape == "map" else count
    if output == "strip":
        _check_strip(unit.network.image_size, columns, count)
    elif output in _ANIMATIONS:
        _check_animation(unit.network.image_size, count)
    headers = {"X-Frames": str(count), "X-Model": served.id, "X-Digest": served.digest}
    text = {}
    if request.seeds:
        text["seeds"] = headers["X-Seeds"] = ",".join(map(str, request.seeds))
    origin = origin_of(served, "trainedAlgorithmicMedia", text)
    frames = Frames(served, rows, columns, request.seeds, origin)
    kind = request.format or accept.image_format(call.accept)
    if output in ("zip", "json"):
        return Answer(await _packed(runtime, call, frames, output, kind), pictures.MEDIA[output], headers)
    pixels = await patience.images(unit, rows, call.progress, call.show)
    _count_served(runtime, frames, pixels)
    if output == "strip":
        content = await runtime.beside_the_loop(call, _strip, runtime.writer, frames, pixels, kind, request.quality)
        return Answer(content, pictures.MEDIA[kind], headers)
    arguments = (pixels, output, request.frame_ms, request.quality, origin)
    content = await runtime.beside_the_loop(call, runtime.writer.animation, *arguments)
    return Answer(content, _ANIMATIONS[output], headers)


def choose_output(wanted: str, request: InterpolateRequest) -> Output:
    """By the field, else by the Accept header `wanted`; raises InputError for an animated map, or too fast a GIF."""
    output = accept.choose(request.output, wanted, _PATH if request.shape == "path" else _MAP)
    if request.shape == "map" and output in _ANIMATIONS:
        raise InputError("A map is no animation: ask for strip, zip or json.", where="output")
    if output == "gif" and request.frame_ms < _SHORTEST_GIF_MS:
        sentence = f"Frames of a GIF last {_SHORTEST_GIF_MS} ms or more: ask for webp or apng, or for slower ones."
        raise InputError(sentence, where="frame_ms")
    return output


async def _in_w(runtime: Runtime, call: Call, served: Served[Sampler], request: InterpolateRequest) -> torch.Tensor:
    """Keyframes in the space w, float32 [k, code]: photos, then seeds or latents."""
    photos = call.files["images"]
    if len(photos) + len(request.seeds or request.latents or ()) > MAX_KEYFRAMES:
        raise LimitError(f"At most {MAX_KEYFRAMES} keyframes are taken, photos among them.", where="images")
    network = served.unit.network
    places = [await codes(runtime, call, served, photos)] if photos else []
    if request.seeds is not None or request.latents is not None:
        space = "z" if request.seeds is not None else request.space
        others = await runtime.beside_the_loop(call, _given, network, request)
        places.append(await at_home(call, served.unit, others, space))
    return torch.cat(places) if places else torch.empty(0, network.size_of("w"))


def plan_frames(
    network: models.Generator, request: InterpolateRequest, most: int, in_w: torch.Tensor | None = None
) -> Latents:
    """Latents (and class weights) of every frame, in order; `in_w` are keyframes in that space, where they are there.

    Raises InputError for keyframes that contradict each other or are too few, LimitError for more than `most` frames.
    """
    latents, classes = _keyframes(network, request, in_w)
    space: models.Space = "z" if in_w is None else "w"
    blends: Mapping[str, Blend] = {"slerp": models.slerp, "lerp": models.lerp}
    method = request.method or ("slerp" if space == "z" else "lerp")
    pairs = ((latents, blends[method]), (classes, models.lerp))
    if request.shape == "map":
        if request.loop:
            raise InputError("A map has no loop.", where="loop")
        if len(latents) != 4:
            raise InputError(f"A map has four corners, not {len(latents)} keyframes.", where="seeds")
        _check_count(request.steps**2, most)
        mixed = [square(one, request.steps, blend) for one, blend in pairs]
    else:
        if len(latents) < 2:
            raise InputError("A path has two keyframes or more, as seeds, latents or classes.", where="seeds")
        _check_count(len(latents) * request.steps if request.loop else (len(latents) - 1) * request.steps + 1, most)
        mixed = [path(one, request.steps, request.loop, blend) for one, blend in pairs]
    return Latents(mixed[0], mixed[1] if network.classes else None, space)


def _check_count(count: int, most: int) -> None:
    """Before the frames' latents are made: a map of 10,000 x 10,000 has more than fit in memory."""
    if count > most:
        raise LimitError(
            f"These are {count:,} frames; a request makes {MAX_FRAMES}, a job {MAX_JOB_FRAMES:,}.", where="steps"
        )


def _given(network: models.Generator, request: InterpolateRequest) -> torch.Tensor:
    """The seeds' latents, or those that are given, [k, size]."""
    if (request.seeds is None) == (request.latents is None):
        raise InputError("Give the keyframes as seeds or as latents, one of the two, or as classes.", where="seeds")
    if request.seeds is not None:
        return models.draw(request.seeds, network.latent_size, truncation=request.truncation)
    if request.truncation is not None:
        raise InputError("Truncation goes with seeds, not with latents.", where="truncation")
    size = network.size_of(request.space)
    if any(len(row) != size for row in request.latents or []):
        raise InputError(f"Each latent of this model has {size} numbers.", where="latents")
    return torch.tensor(request.latents, dtype=torch.float32)


def _keyframes(
    network: models.Generator, request: InterpolateRequest, in_w: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(latents [k, size], class weights [k, classes or 0])."""
    latents = _given(network, request) if in_w is None else in_w
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


def _check_strip(size: int, columns: int, count: int) -> None:
    rows = -(-count // columns)
    if max(columns, rows) * size > _STRIP_SIDE:
        raise LimitError(
            f"A strip of {columns} x {rows} images of {size} pixels is longer than {_STRIP_SIDE} pixels; ask for zip.",
            where="output",
        )
    pictures.check_sheet("png", rows * size, columns * size)


def _check_animation(size: int, count: int) -> None:
    """Its encoders keep all frames until the end."""
    if count * size**2 > models.MAX_PIXELS:
        raise LimitError(
            f"{count:,} frames of {size} pixels have more than the {models.MAX_PIXELS:,} of an animation; ask for zip.",
            where="output",
        )


async def _packed(runtime: Runtime, call: Call, frames: Frames, output: Output, kind: ImageFormat) -> BinaryIO:
    """The frames as single images in one file, written as they are drawn."""
    out = call.out()
    pack = ZipPack(out) if output == "zip" else JsonPack(out, _about(frames, kind), "images")

    def add(numbered: tuple[int, Pixels]) -> None:
        index, pixels = numbered
        file = runtime.writer.image(pixels, kind, call.body.quality, frames.origin)
        if isinstance(pack, ZipPack):
            pack.add(f"{index:05d}.{kind}", file)
        else:
            pack.add(pictures.base64_of(file))

    start = 0
    async for pixels in patience.parts(frames.served.unit, frames.rows, call.progress, call.show):
        _count_served(runtime, frames, pixels)
        await runtime.each(call, add, list(enumerate(pixels, start)))
        start += len(pixels)
    await runtime.beside_the_loop(call, pack.close)
    return out


def _about(frames: Frames, kind: ImageFormat) -> Mapping[str, Any]:
    """An `InterpolateAnswer` without its images."""
    return {
        "model": frames.served.id,
        "digest": frames.served.digest,
        "seeds": frames.seeds,
        "frames": len(frames.rows.latents),
        "columns": frames.columns,
        "format": kind,
    }


def _count_served(runtime: Runtime, frames: Frames, pixels: Pixels) -> None:
    runtime.served("interpolate", frames.served.source.name, pixels)  # what lies between samples is no sample


def _strip(writer: Writer, frames: Frames, pixels: Pixels, kind: ImageFormat, quality: int) -> bytes:
    return writer.image(models.grid(pixels, frames.columns, padding=0), kind, quality, frames.origin)


INTERPOLATE = Operation(
    "POST",
    "/v1/interpolate",
    "interpolate",
    "Walk through latent space",
    interpolate,
    "generate",
    body=InterpolateRequest,
    files=(FileField("images", "Photos, for a model with an encoder.", required=False, most=MAX_KEYFRAMES),),
    answers={
        **dict.fromkeys(("image/png", "image/jpeg", "image/webp", "image/avif", "image/gif", "image/apng")),
        "application/zip": None,
        "application/json": InterpolateAnswer,
    },
    headers={
        "X-Seeds": "The seeds of the keyframes, separated by commas.",
        "X-Model": "Name and version.",
        "X-Digest": "SHA-256 of the checkpoint.",
        "X-Frames": "How many.",
    },
    errors=(404, 406, 422),
    examples={
        "strip": {"seeds": [1, 2], "steps": 6},
        "animation": {"seeds": [1, 2, 3], "steps": 8, "loop": True, "output": "gif"},
        "map": {"seeds": [1, 2, 3, 4], "shape": "map", "steps": 5},
    },
)

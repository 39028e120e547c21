"""POST /v1/interpolate: keyframes to frames."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
from pydantic import BaseModel, Field

import models
from models.errors import InputError, LimitError
from models.images import Pixels
from models.origin import Origin
from service.call import Answer, Call
from service.encoding import pictures
from service.encoding.packing import JsonPack, ZipPack
from service.encoding.pictures import ImageFormat
from service.encoding.writer import Writer
from service.endpoints.points import at_home
from service.endpoints.provenance import origin_of
from service.endpoints.squares import Looked, check_encodes, codes, looked_at
from service.endpoints.walks import (
    MAX_FRAMES,
    MAX_JOB_FRAMES,
    MAX_KEYFRAMES,
    InterpolateRequest,
    Output,
    Walk,
    frames_of,
    walk_of,
)
from service.engine import patience
from service.engine.sampler import Latents, Sampler
from service.http import accept
from service.http.body import FileField
from service.http.operation import Operation
from service.registry.checkpoints import Served
from service.runtime import Runtime


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
class Asked:
    """What a request comes to."""

    served: Served[Sampler]
    photos: Looked
    walk: Walk
    output: Output
    kind: ImageFormat


@dataclass(frozen=True)
class Frames:
    """What to draw: of a map in rows of `columns`. `seeds` are the keyframes', None for latents."""

    served: Served[Sampler]
    rows: Latents
    columns: int
    seeds: list[int] | None
    origin: Origin


async def prepare(runtime: Runtime, call: Call) -> Asked:
    """Raises as `choose_output`, `walk_of` and `looked_at` do, and LimitError for frames that no file holds."""
    request: InterpolateRequest = call.body
    files = call.files["images"]
    served = runtime.registry.encoder(request.model) if files else runtime.registry.sampler(request.model)
    output = choose_output(call.accept, request)
    served.unit.check_space(request.space)
    if files:
        check_encodes(served)
    most = MAX_JOB_FRAMES if call.is_job else MAX_FRAMES
    walk = walk_of(served, request, len(files), call.seed, most)
    if output == "strip":
        _check_strip(served.unit.network.image_size, walk.columns, walk.count)
    elif output in _ANIMATIONS:
        _check_animation(served.unit.network.image_size, walk.count)
    photos = await looked_at(runtime, call, files)
    return Asked(served, photos, walk, output, request.format or accept.image_format(call.accept))


async def interpolate(runtime: Runtime, call: Call) -> Answer:
    """Draws the frames, all of them in shared batches, and packs them."""
    request: InterpolateRequest = call.body
    asked = await prepare(runtime, call)
    served, walk, output, kind = asked.served, asked.walk, asked.output, asked.kind
    keys, space = await _keys(runtime, call, asked)
    rows = await runtime.beside_the_loop(call, frames_of, walk, keys, space)
    headers = {"X-Frames": str(walk.count), "X-Model": served.id, "X-Digest": served.digest}
    text = {}
    if walk.seeds:
        text["seeds"] = headers["X-Seeds"] = ",".join(map(str, walk.seeds))
    origin = origin_of(served, "trainedAlgorithmicMedia", text)
    frames = Frames(served, rows, walk.columns, walk.seeds, origin)
    if output in ("zip", "json"):
        return Answer(await _packed(runtime, call, frames, output, kind), pictures.MEDIA[output], headers)
    pixels = await patience.images(served.unit, rows, call.progress, call.show)
    _count_served(runtime, frames, pixels)
    if output == "strip":
        content = await runtime.beside_the_loop(call, _strip, runtime.writer, frames, pixels, kind, request.quality)
        return Answer(content, pictures.MEDIA[kind], headers)
    arguments = (pixels, output, request.frame_ms, request.quality, origin)
    content = await runtime.beside_the_loop(call, runtime.writer.animation, *arguments)
    return Answer(content, _ANIMATIONS[output], headers)


async def _keys(runtime: Runtime, call: Call, asked: Asked) -> tuple[torch.Tensor, models.Space]:
    """The keyframes' points, float32 [k, size], and their space: w where there are photos or it is asked for."""
    served, walk = asked.served, asked.walk
    others, space = walk.latents, walk.request.space
    if walk.seeds is not None:
        truncation = walk.request.truncation
        draw = functools.partial(models.draw, walk.seeds, served.unit.network.latent_size, truncation=truncation)
        others, space = await runtime.beside_the_loop(call, draw), "z"
    if not asked.photos and walk.request.space == "z":
        assert others is not None  # as there are no photos
        return others, "z"
    places = [await codes(runtime, call, served, asked.photos)] if asked.photos else []
    if others is not None:
        places.append(await at_home(call, served.unit, others, space))
    return torch.cat(places), "w"


def choose_output(wanted: str, request: InterpolateRequest) -> Output:
    """By the field, else by the Accept header `wanted`; raises InputError for an animated map, or too fast a GIF."""
    output = accept.choose(request.output, wanted, _PATH if request.shape == "path" else _MAP)
    if request.shape == "map" and output in _ANIMATIONS:
        raise InputError("A map is no animation: ask for strip, zip or json.", where="output")
    if output == "gif" and request.frame_ms < _SHORTEST_GIF_MS:
        sentence = f"Frames of a GIF last {_SHORTEST_GIF_MS} ms or more: ask for webp or apng, or for slower ones."
        raise InputError(sentence, where="frame_ms")
    return output


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
    prepare,
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

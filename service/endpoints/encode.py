"""POST /v1/encode: photos to the points that draw them again; for models without an encoder, as a job, by search."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, BinaryIO, Literal

import numpy as np
import torch
from pydantic import BaseModel, Field

import models
from models.errors import ConflictError, InputError
from models.images import Pixels
from models.origin import Origin
from service.call import Answer, Call, Progress
from service.encoding import pictures
from service.encoding.packing import ZipPack
from service.encoding.pictures import ImageFormat
from service.endpoints.fields import Body, ModelName, Quality
from service.endpoints.provenance import origin_of
from service.endpoints.squares import Looked, Squares, check_encodes, encoded, looked_at, squares
from service.engine import patience
from service.engine.classes import ClassLabel, class_weights
from service.engine.inversion import Found, Search, candidates, invert
from service.engine.sampler import Latents, Sampler
from service.http import accept
from service.http.body import FileField
from service.http.operation import Operation
from service.registry.checkpoints import Served
from service.runtime import Runtime
from service.setting_values import NUMERAL

MOST_FILES = 32
_SHOWN = 10  # steps of a search from one picture of the best so far to the next

Output = Literal["json", "npz", "image", "zip"]


class EncodeRequest(Body):
    """The fields beside the photos."""

    model: ModelName | None = None
    output: Output | None = Field(
        None, description="By default what Accept asks for; failing that, json. image and zip: the reconstructions."
    )
    format: ImageFormat | None = Field(None, description="By default what Accept asks for; failing that, png.")
    quality: Quality = 90


class EncodeJob(EncodeRequest):
    """The same as a job, which also looks for the latents of a model without an encoder."""

    starts: Annotated[int, Field(ge=1, le=8), NUMERAL] | None = Field(
        None, description="Of a model without an encoder: latents from which the search begins; by default 4."
    )
    steps: Annotated[int, Field(ge=1, le=2000), NUMERAL] | None = Field(
        None, description="Of a model without an encoder: steps from each; by default 200."
    )
    classes: ClassLabel | None = Field(
        None, alias="class", description="Of all photos, where it is known; by default it is looked for, too."
    )


class EncodedPhoto(BaseModel):
    """Where a photo has its place, and how near it is to what is drawn from there."""

    name: str
    latent: list[float]
    label: int | None = Field(alias="class", description="Of a model with classes.")
    l1: float = Field(description="Mean absolute difference of photo and reconstruction, 0 (the same) to 1.")
    perceptual: float | None = Field(
        description="Distance of their activations in Inception's first layers, 0 (the same) to 4; null where the FID "
        "weights are not at hand."
    )


class EncodeAnswer(BaseModel):
    """The answer of /v1/encode as JSON."""

    model: str
    digest: str
    space: models.Space = Field(description="Of the latents: as the field `space` of other endpoints.")
    photos: list[EncodedPhoto]


_ONE: Mapping[str, Output] = {
    "application/json": "json",
    "application/x-npz": "npz",
    **dict.fromkeys(accept.IMAGES, "image"),
    "application/zip": "zip",
}
_SEVERAL: Mapping[str, Output] = {media: form for media, form in _ONE.items() if form != "image"}


@dataclass(frozen=True)
class Encoded:
    """Photos, their points, and what is drawn from these; distances [n]."""

    served: Served[Sampler]
    photos: Squares
    rows: Latents
    again: Pixels
    l1: list[float]
    perceptual: list[float] | None

    @property
    def classes(self) -> list[int | None]:
        if self.rows.classes is None:
            return [None] * len(self.again)
        return [int(one) for one in self.rows.classes.argmax(dim=1)]

    def origin(self, index: int) -> Origin:
        """What a reconstruction carries, so that it can be made again."""
        text = {"latent": pictures.base64_of(self.rows.latents[index].numpy().tobytes()), "space": self.rows.space}
        if self.classes[index] is not None:
            text["class"] = str(self.classes[index])
        return origin_of(self.served, "compositeWithTrainedAlgorithmicMedia", text)


@dataclass(frozen=True)
class Asked:
    """What a request comes to; `search` says how to look for latents where the model has no encoder."""

    served: Served[Sampler]
    photos: Looked
    output: Output
    kind: ImageFormat
    search: Search | None


async def prepare(runtime: Runtime, call: Call) -> Asked:
    """Raises InputError for what does not fit the model, and what `looked_at` does."""
    request: EncodeRequest = call.body
    served = runtime.registry.encoder(request.model)
    uploads = call.files["images"]
    output = accept.choose(request.output, call.accept, _ONE if len(uploads) == 1 else _SEVERAL)
    if output == "image" and len(uploads) > 1:
        raise InputError(f"output=image holds one image, not {len(uploads)}: use zip, npz or json.", where="output")
    kind = request.format or accept.image_format(call.accept)
    search = _search(served, request) if call.is_job else None
    if search is None:
        check_encodes(served)
    return Asked(served, await looked_at(runtime, call, uploads), output, kind, search)


async def encode(runtime: Runtime, call: Call) -> Answer:
    """Photos to points, in the form that was asked for."""
    asked = await prepare(runtime, call)
    served, search = asked.served, asked.search
    photos = await squares(runtime, call, served.unit, asked.photos)
    if search is None:
        rows = Latents(await encoded(call, served.unit, photos), None, "w")
    else:
        rows = await _sought(runtime, call, served, photos, search)
    again = await patience.images(served.unit, rows, None if search else call.progress, call.show)
    runtime.served("encode", served.source.name, again)
    l1, perceptual = await runtime.beside_the_loop(call, _distances, runtime, photos.pixels, again)
    return await _answer(runtime, call, Encoded(served, photos, rows, again, l1, perceptual), asked.output, asked.kind)


def _search(served: Served[Sampler], request: EncodeRequest) -> Search | None:
    """How to look for latents; None where the model has an encoder. Raises InputError for what does not fit it."""
    if not isinstance(request, EncodeJob):
        return None
    given = {"starts": request.starts, "steps": request.steps, "class": request.classes}
    if served.unit.encodes:
        if stray := next((name for name, value in given.items() if value is not None), None):
            raise InputError(f"{served.id} has an encoder, and nothing is searched: leave {stray} out.", where=stray)
        return None
    weights = class_weights(served.unit.network, request.classes, 1)
    label = None if weights is None else int(weights.argmax())
    return Search(request.starts or 4, request.steps or 200, label)


async def _sought(runtime: Runtime, call: Call, served: Served[Sampler], photos: Squares, search: Search) -> Latents:
    """By optimisation, on a thread of its own, with the checkpoint's own layers: those that serve have no gradients."""
    network = await asyncio.to_thread(models.load, served.source.path, models.Generator, device=runtime.settings.device)
    if network.digest != served.digest:
        raise ConflictError(f"The file of {served.id} was replaced meanwhile; submit this again.", where="model")
    targets = models.to_float(photos.pixels).to(runtime.settings.device)
    seeds = models.sample_seeds(call.seed, candidates(len(targets)))
    distance = await asyncio.to_thread(runtime.perceptual)

    loop = asyncio.get_running_loop()

    def work(report: Progress) -> Latents:
        def tell(done: int, total: int, best: Callable[[], Found]) -> None:
            report(done, total)
            if done % _SHOWN == 0:
                loop.call_soon_threadsafe(call.show, models.grid(models.to_uint8(best().images)))

        found = invert(network, targets, search, seeds, distance, tell)
        labels: list[ClassLabel] | None = None if found.classes is None else [int(one) for one in found.classes]
        return Latents(found.latents, class_weights(network, labels, len(targets)))

    return await runtime.inverter.run(work, call.progress)


def _distances(runtime: Runtime, photos: Pixels, again: Pixels) -> tuple[list[float], list[float] | None]:
    """(L1, perceptual or None), one for each."""
    l1 = np.abs(photos.astype(np.int16) - again).mean(axis=(1, 2, 3)) / 255
    distance = runtime.perceptual()
    if distance is None:
        return l1.tolist(), None
    torch.set_num_threads(1)  # others encode beside this
    with torch.inference_mode():
        one, other = (models.to_float(pixels).to(runtime.settings.device) for pixels in (photos, again))
        apart = distance(one, other)
    return l1.tolist(), apart.tolist()


async def _answer(runtime: Runtime, call: Call, done: Encoded, output: Output, kind: ImageFormat) -> Answer:
    headers = {"X-Model": done.served.id, "X-Digest": done.served.digest, "X-L1": _listed(done.l1)}
    if done.perceptual is not None:
        headers["X-Perceptual"] = _listed(done.perceptual)
    if output == "json":
        return await runtime.beside_the_loop(call, _json, done, headers)
    if output == "npz":
        out = call.out()
        await runtime.beside_the_loop(call, _npz, out, done)
        return Answer(out, pictures.MEDIA["npz"], headers)

    def file(index: int) -> bytes:
        return runtime.writer.image(done.again[index], kind, call.body.quality, done.origin(index))

    files = await runtime.each(call, file, range(len(done.again)))
    if output == "image":
        return Answer(files[0], pictures.MEDIA[kind], headers)
    out = call.out()
    await runtime.beside_the_loop(call, _zip, out, files, kind)
    return Answer(out, pictures.MEDIA["zip"], headers)


def _zip(out: BinaryIO, files: Sequence[bytes], kind: ImageFormat) -> None:
    pack = ZipPack(out)
    for index, file in enumerate(files):
        pack.add(f"{index:03d}.{kind}", file)
    pack.close()


def _listed(values: list[float]) -> str:
    return ",".join(f"{value:.6f}" for value in values)


def _json(done: Encoded, headers: Mapping[str, str]) -> Answer:
    perceptual: Sequence[float | None] = done.perceptual or [None] * len(done.l1)
    each = zip(done.photos.names, done.rows.latents.tolist(), done.classes, done.l1, perceptual, strict=True)
    photos = [
        {"name": name, "latent": latent, "class": label, "l1": l1, "perceptual": apart}
        for name, latent, label, l1, apart in each
    ]
    about = {"model": done.served.id, "digest": done.served.digest, "space": done.rows.space}
    return Answer.of({**about, "photos": photos}, headers=headers)


def _npz(out: BinaryIO, done: Encoded) -> None:
    arrays: dict[str, np.ndarray] = {
        "latents": done.rows.latents.numpy(),
        "space": np.array(done.rows.space),
        "photos": done.photos.pixels,
        "images": done.again,
        "l1": np.array(done.l1),
    }
    if done.perceptual is not None:
        arrays["perceptual"] = np.array(done.perceptual)
    if done.rows.classes is not None:
        arrays["classes"] = done.rows.classes.argmax(dim=1).numpy()
    np.savez_compressed(out, **arrays)  # type: ignore[arg-type]


ENCODE = Operation(
    "POST",
    "/v1/encode",
    "encode",
    "Find the latents of photos",
    encode,
    "generate",
    prepare,
    description=(
        "The largest square about a photo's centre, scaled to the model's size, upright, in sRGB, without alpha, goes "
        "through its encoder. For a model without one, send the same to POST /v1/jobs/encode, which searches."
    ),
    body=EncodeRequest,
    files=(FileField("images", "Photos: PNG, JPEG, WebP, GIF, BMP, TIFF or PPM.", most=MOST_FILES),),
    answers={
        "application/json": EncodeAnswer,
        **{media: None for name, media in pictures.MEDIA.items() if name != "json"},
    },
    headers={
        "X-Model": "Name and version.",
        "X-Digest": "SHA-256 of the checkpoint.",
        "X-L1": "Of each photo, separated by commas.",
        "X-Perceptual": "The same, where the FID weights are at hand.",
    },
    errors=(404, 406, 409, 422),
)

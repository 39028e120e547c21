"""POST /v1/images/generations, in OpenAI's shape, so that its clients work with this service."""

import re
import time
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

import models
from models.errors import InputError, LimitError
from models.images import Pixels
from service.call import Answer, Call
from service.encoding import pictures
from service.encoding.pictures import ImageFormat
from service.endpoints.fields import ModelName, Seed
from service.endpoints.provenance import origin_of
from service.engine.classes import ClassLabel, class_weights, default_classes
from service.engine.sampler import Latents
from service.http.operation import Operation
from service.runtime import Runtime

_WORD = re.compile(r"[^\W_]+")  # letters and digits of any script
_SIZE = r"^(auto|[1-9][0-9]{0,3}x[1-9][0-9]{0,3})$"


def _checked(size: str) -> str:
    if re.fullmatch(_SIZE, size) is None:
        raise PydanticCustomError("size", "Write a size as WIDTHxHEIGHT, such as 256x256, or auto")
    return size


Size = Annotated[str, AfterValidator(_checked), Field(json_schema_extra={"pattern": _SIZE})]


def _no_stream(stream: bool) -> bool:
    if stream:
        raise PydanticCustomError("stream", "Images are not streamed here: leave stream out, or send false")
    return stream


Stream = Annotated[bool, AfterValidator(_no_stream), Field(json_schema_extra={"const": False})]


class GenerationRequest(BaseModel):
    """OpenAI's image request. What has no meaning for a GAN (style, user, ...) is accepted and ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    prompt: Annotated[str, Field(max_length=32_000)] = Field(
        "", description="Of a model with classes: the class whose name is a word of it. Otherwise it means nothing."
    )
    model: ModelName | None = None
    n: Annotated[int, Field(ge=1, le=256)] | None = 1
    size: Size | None = Field(
        None,
        description="WIDTHxHEIGHT, up to 2048, and 16,777,216 pixels of all images together: they are resampled where "
        "the model makes another size.",
    )
    response_format: Literal["url", "b64_json"] | None = Field(
        None, description="url gives a data: address, because nothing is kept. Default b64_json."
    )
    output_format: ImageFormat | None = None
    seed: Seed | None = None
    stream: Stream | None = None


class Generated(BaseModel):
    """One generated image; `b64_json` or `url`."""

    b64_json: str | None = None
    url: str | None = None
    seed: int


class GenerationAnswer(BaseModel):
    """OpenAI's image answer, and the seeds."""

    created: int
    data: list[Generated]
    model: str
    size: str
    output_format: ImageFormat


_LONGEST = 2048
_MOST_PIXELS = 2**24  # that are resampled for one request: four images of 2048 x 2048


async def generate(runtime: Runtime, call: Call) -> Answer:
    """A sample, asked for and answered in other words."""
    request: GenerationRequest = call.body
    served = runtime.registry.sampler(request.model)
    network = served.unit.network
    count = request.n or 1
    size = _size(request.size, network.image_size, count)
    seeds = models.sample_seeds(call.seed if request.seed is None else request.seed, count)
    rows = await runtime.beside_the_loop(call, _rows, network, request.prompt, seeds)
    pixels = await served.unit.images(rows)
    runtime.served("generations", served.source.name, pixels, drift=served.source.name)
    kind = request.output_format or "png"

    def image(index: int) -> Generated:
        origin = origin_of(served, "trainedAlgorithmicMedia", {"seed": str(seeds[index])})
        file = pictures.base64_of(runtime.writer.image(_resized(pixels[index], size), kind, 90, origin))
        if request.response_format == "url":
            return Generated(seed=seeds[index], url=f"data:{pictures.MEDIA[kind]};base64,{file}")
        return Generated(seed=seeds[index], b64_json=file)

    data = await runtime.each(call, image, range(count))
    answer = GenerationAnswer(
        created=int(time.time()), data=data, model=served.id, size=f"{size[0]}x{size[1]}", output_format=kind
    )
    return await runtime.beside_the_loop(call, Answer.of, answer.model_dump(exclude_none=True))


def _size(size: str | None, own: int, count: int) -> tuple[int, int]:
    """(width, height). Raises InputError for a side that is too long, LimitError for too many pixels in all."""
    if size in (None, "auto"):
        return own, own
    width, height = (int(side) for side in size.split("x"))
    if max(width, height) > _LONGEST:
        raise InputError(f"A size is at most {_LONGEST}x{_LONGEST}, not {size}.", where="size")
    if (width, height) != (own, own) and count * width * height > _MOST_PIXELS:
        raise LimitError(
            f"{count} images of {size} have {count * width * height:,} pixels, and at most {_MOST_PIXELS:,} are "
            "resampled for one request: ask for fewer or smaller ones, or for size auto.",
            where="size",
        )
    return width, height


def _rows(network: models.Generator, prompt: str, seeds: list[int]) -> Latents:
    labels = _classes(network, prompt, seeds)
    return Latents(models.draw(seeds, network.latent_size), class_weights(network, labels, len(seeds)))


def _classes(network: models.Generator, prompt: str, seeds: list[int]) -> list[ClassLabel] | None:
    """The class that the prompt names, the longest of several; where it names none, each seed's own."""
    text = _words(prompt)
    named = [name for name in network.classes if _words(name).strip() and _words(name) in text]
    return [max(named, key=len)] * len(seeds) if named else default_classes(network, seeds)


def _words(text: str) -> str:
    """Between single spaces, so that what is in it between spaces is whole words of it."""
    return f" {' '.join(_WORD.findall(text.casefold()))} "


def _resized(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """uint8 [h, w, c] in another size (width, height)."""
    if picture.shape[1::-1] == size:
        return picture
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    resized = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
    return resized[..., None] if picture.shape[2] == 1 else resized


GENERATIONS = Operation(
    "POST",
    "/v1/images/generations",
    "generations",
    "Draw images, in OpenAI's shape",
    generate,
    "generate",
    body=GenerationRequest,
    answers={"application/json": GenerationAnswer},
    errors=(404, 413),
    examples={"two": {"prompt": "", "n": 2, "size": "auto", "response_format": "b64_json", "seed": 7}},
)

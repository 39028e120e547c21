"""POST /v1/images/generations, in OpenAI's shape, so that its clients work with this service."""

import re
import time
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError
from starlette.responses import JSONResponse, Response

import models
from models.errors import InputError
from models.images import Pixels
from service.encoding import pictures
from service.encoding.pictures import ImageFormat
from service.endpoints.fields import ModelName, Seed
from service.engine.classes import ClassLabel, class_weights, default_classes
from service.engine.sampler import Latents, Sampler
from service.http.operation import Call, Operation
from service.runtime import Core

_SIZE = r"^(auto|[1-9][0-9]{0,3}x[1-9][0-9]{0,3})$"


def _checked(size: str) -> str:
    if re.fullmatch(_SIZE, size) is None:
        raise PydanticCustomError("size", "Write a size as WIDTHxHEIGHT, such as 256x256, or auto")
    return size


Size = Annotated[str, AfterValidator(_checked), Field(json_schema_extra={"pattern": _SIZE})]


class GenerationRequest(BaseModel):
    """OpenAI's image request. What has no meaning for a GAN (style, user, ...) is accepted and ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    prompt: Annotated[str, Field(max_length=32_000)] = Field(
        "", description="Of a model with classes: the class whose name stands in it. Otherwise it means nothing."
    )
    model: ModelName | None = None
    n: Annotated[int, Field(ge=1, le=256)] | None = 1
    size: Size | None = Field(
        None, description="WIDTHxHEIGHT, up to 2048: images are resampled where the model makes another size."
    )
    response_format: Literal["url", "b64_json"] | None = Field(
        None, description="url gives a data: address, because nothing is kept. Default b64_json."
    )
    output_format: ImageFormat | None = None
    seed: Seed | None = None


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


async def generate(core: Core, call: Call) -> Response:
    """A sample, asked for and answered in other words."""
    request: GenerationRequest = call.body
    served = core.registry.get(request.model, Sampler)
    assert isinstance(served.unit, Sampler)
    network = served.unit.network
    count = request.n or 1
    width, height = _size(request.size, network.image_size)
    base = models.random_seed() if request.seed is None else request.seed
    seeds = models.sample_seeds(base, count)
    labels = _classes(network, request.prompt, seeds)
    rows = Latents(models.draw(seeds, network.latent_size), class_weights(network, labels, count))
    pixels = await served.unit.images(rows)
    core.served("generations", served.source.name, pixels, drift=served.source.name)
    kind = request.output_format or "png"
    texts = [{"gan.model": served.id, "gan.digest": served.digest, "gan.seed": str(seed)} for seed in seeds]
    files = await core.encode(_files, pixels, (width, height), kind, texts)
    as_url = request.response_format == "url"
    data = [
        Generated(seed=seed, url=f"data:{pictures.MEDIA[kind]};base64,{file}")
        if as_url
        else Generated(seed=seed, b64_json=file)
        for seed, file in zip(seeds, files, strict=True)
    ]
    answer = GenerationAnswer(
        created=int(time.time()), data=data, model=served.id, size=f"{width}x{height}", output_format=kind
    )
    return JSONResponse(answer.model_dump(exclude_none=True))


def _size(size: str | None, own: int) -> tuple[int, int]:
    if size in (None, "auto"):
        return own, own
    width, height = (int(side) for side in size.split("x"))
    if max(width, height) > _LONGEST:
        raise InputError(f"A size is at most {_LONGEST}x{_LONGEST}, not {size}.", where="size")
    return width, height


def _classes(network: models.Generator, prompt: str, seeds: list[int]) -> list[ClassLabel] | None:
    """The class that the prompt names; where it names none, each seed's own."""
    words = prompt.lower()
    named = [name for name in network.classes if name.lower() in words]
    return [max(named, key=len)] * len(seeds) if named else default_classes(network, seeds)


def _files(pixels: Pixels, size: tuple[int, int], kind: ImageFormat, texts: list[dict[str, str]]) -> list[str]:
    """The images as base64 files, resampled where another size was asked for."""
    files = []
    for one, text in zip(pixels, texts, strict=True):
        picture = one
        if one.shape[1::-1] != size:
            image = Image.fromarray(one[..., 0] if one.shape[2] == 1 else one)
            resized = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
            picture = resized[..., None] if one.shape[2] == 1 else resized
        files.append(pictures.base64_of(pictures.encode(picture, kind, text=text)))
    return files


GENERATIONS = Operation(
    "POST",
    "/v1/images/generations",
    "generations",
    "Draw images, in OpenAI's shape",
    generate,
    "generate",
    body=GenerationRequest,
    answers={"application/json": GenerationAnswer},
    errors=(404,),
    examples={"two": {"prompt": "", "n": 2, "size": "auto", "response_format": "b64_json", "seed": 7}},
)

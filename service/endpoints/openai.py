"""What the endpoints in OpenAI's shape share: the fields of a request, the forms of an answer, and words in prompts.

A stream is server-sent events, as OpenAI's API names them: of each image the partial ones that were asked for, which
are the finished image with less detail (a GAN draws in one step), and the completed one. All of them come in one body.
"""

import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

import models
from models.errors import InputError, LimitError
from models.images import Pixels
from models.origin import Origin
from service.call import Answer, Call
from service.encoding import pictures
from service.encoding.pictures import ImageFormat
from service.endpoints.fields import ModelName
from service.runtime import Runtime
from service.setting_values import NUMERAL

EVENTS = "text/event-stream"
STREAM = {"description": "Server-sent events."}
"""Its schema names no type, since OpenAPI's tools differ on whether it is the whole body's, a text, or each event's."""

Kind = Literal["image_generation", "image_edit"]

_WORD = re.compile(r"[^\W_]+")  # letters and digits of any script
_SIZE = r"^(auto|[1-9][0-9]{0,3}x[1-9][0-9]{0,3})$"
_LONGEST = 2048
_MOST_PIXELS = 2**24  # that are resampled for one request: four images of 2048 x 2048
_QUALITY = 90


def _checked(size: str) -> str:
    if re.fullmatch(_SIZE, size) is None:
        raise PydanticCustomError("size", "Write a size as WIDTHxHEIGHT, such as 256x256, or auto")
    return size


def _opaque(background: str) -> str:
    if background == "transparent":
        raise PydanticCustomError("background", "These models draw no transparency: background is opaque or auto")
    return background


Size = Annotated[str, AfterValidator(_checked), Field(json_schema_extra={"pattern": _SIZE})]
Background = Annotated[
    Literal["opaque", "auto", "transparent"],
    AfterValidator(_opaque),
    Field(json_schema_extra={"enum": ["opaque", "auto"]}),
]


class ImageRequest(BaseModel):
    """What all of them take. What has no meaning for a GAN (style, quality, user, ...) is accepted and ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    model: ModelName | None = None
    n: Annotated[int, Field(ge=1, le=256), NUMERAL] | None = 1
    size: Size | None = Field(
        None,
        description="WIDTHxHEIGHT, up to 2048, and 16,777,216 pixels of all images together: they are resampled where "
        "they have another size.",
    )
    response_format: Literal["url", "b64_json"] | None = Field(
        None, description="url gives a data: address, because nothing is kept. Default b64_json."
    )
    output_format: ImageFormat | None = Field(None, description="Default png.")
    output_compression: Annotated[int, Field(ge=0, le=100), NUMERAL] | None = Field(
        None, description="The quality of JPEG, WebP and AVIF; default 90. PNG is lossless, and takes 100 only."
    )
    background: Background | None = None


class PromptedRequest(ImageRequest):
    """Those with a prompt can be streamed, too."""

    prompt: Annotated[str, Field(max_length=32_000)] = ""
    stream: bool | None = Field(None, description="Answer with server-sent events.")
    partial_images: Annotated[int, Field(ge=0, le=3), NUMERAL] | None = Field(
        None, description="Of a stream: how many partial images come first, each with twice the detail of the last."
    )


class TokenDetails(BaseModel):
    """Always 0."""

    image_tokens: int = 0
    text_tokens: int = 0


class Usage(BaseModel):
    """Always 0: nothing here is counted in tokens, and OpenAI's clients expect the field."""

    input_tokens: int = 0
    input_tokens_details: TokenDetails = TokenDetails()
    output_tokens: int = 0
    total_tokens: int = 0


class Generated(BaseModel):
    """One image; `b64_json` or `url`, and the seed of one that was drawn."""

    b64_json: str | None = None
    url: str | None = None
    seed: int | None = None


class ImagesAnswer(BaseModel):
    """OpenAI's image answer, and beside it the model and the seeds."""

    created: int
    data: list[Generated]
    model: str
    size: str = Field(description="Of the first image.")
    output_format: ImageFormat
    background: Literal["opaque"] = "opaque"
    usage: Usage = Usage()


@dataclass(frozen=True)
class Finished:
    """An image as a file."""

    file: bytes
    height: int
    width: int
    origin: Origin
    seed: int | None = None

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"


def size_of(size: str | None, count: int) -> tuple[int, int] | None:
    """(width, height), or None for the images' own.

    Raises:
        InputError: a side that is too long.  LimitError: too many pixels in all.
    """
    if size is None or size == "auto":
        return None
    width, height = (int(side) for side in size.split("x"))
    if max(width, height) > _LONGEST:
        raise InputError(f"A size is at most {_LONGEST}x{_LONGEST}, not {size}.", where="size")
    if count * width * height > _MOST_PIXELS:
        raise LimitError(
            f"{count} images of {size} have {count * width * height:,} pixels, and at most {_MOST_PIXELS:,} are "
            "resampled for one request: ask for fewer or smaller ones, or for size auto.",
            where="size",
        )
    return width, height


def coding_of(request: ImageRequest) -> tuple[ImageFormat, int]:
    """(format, quality). Raises InputError for a PNG that is to be compressed with a loss."""
    kind, quality = request.output_format or "png", request.output_compression
    if kind == "png" and quality not in (None, 100):
        raise InputError(
            "PNG is lossless: output_compression goes with jpeg, webp and avif.", where="output_compression"
        )
    return kind, _QUALITY if quality is None else max(1, quality)


@dataclass(frozen=True)
class Form:
    """How images are to be answered: (width, height) or their own size, file format, quality."""

    size: tuple[int, int] | None
    media: ImageFormat
    quality: int


def form_of(request: ImageRequest, count: int, own: int) -> Form:
    """Of `count` images that are drawn with `own` pixels a side. Raises as `size_of` and `coding_of`."""
    drawn = request.size == f"{own}x{own}"  # nothing to resample, however many there are
    return Form(None if drawn else size_of(request.size, count), *coding_of(request))


def finished(runtime: Runtime, form: Form, pixels: Pixels, origin: Origin, seed: int) -> Finished:
    """An image that was drawn."""
    image = pictures.resized(pixels, form.size)
    file = runtime.writer.image(image, form.media, form.quality, origin)
    return Finished(file, image.shape[0], image.shape[1], origin, seed)


def named(prompt: str, names: Iterable[str]) -> list[str]:
    """Those names of which all words stand in the prompt, in a row and whole, in the order of their last mention."""
    text = _words(prompt)
    found = {name: text.rfind(_words(name)) for name in names if _words(name).strip()}
    return sorted((name for name, place in found.items() if place >= 0), key=lambda name: found[name])


def _words(text: str) -> str:
    """Between single spaces, so that what is in it between spaces is whole words of it."""
    return f" {' '.join(_WORD.findall(text.casefold()))} "


async def answer(runtime: Runtime, call: Call, kind: Kind, model: str, images: Sequence[Finished]) -> Answer:
    """The images in the form that the request wants."""
    if getattr(call.body, "stream", False):
        events = await runtime.each(call, partial(_events, runtime, call.body, kind), images)
        return Answer("".join(events).encode(), EVENTS)
    return await runtime.beside_the_loop(call, _images, call.body, model, images)


def _images(request: ImageRequest, model: str, images: Sequence[Finished]) -> Answer:
    media, _ = coding_of(request)
    data = []
    for one in images:
        file = pictures.base64_of(one.file)
        url = f"data:{pictures.MEDIA[media]};base64,{file}" if request.response_format == "url" else None
        data.append(Generated(seed=one.seed, url=url, b64_json=None if url else file))
    whole = ImagesAnswer(created=int(time.time()), data=data, model=model, size=images[0].size, output_format=media)
    return Answer.of(whole.model_dump(exclude_none=True))


def _events(runtime: Runtime, request: PromptedRequest, kind: Kind, one: Finished) -> str:
    """All events of one image."""
    media, quality = coding_of(request)
    common = {
        "created_at": int(time.time()),
        "size": one.size,
        "quality": "auto",
        "background": "opaque",
        "output_format": media,
    }

    def events() -> Iterator[dict[str, Any]]:
        count = request.partial_images or 0
        for index in range(count):
            file = runtime.writer.image(_coarser(one.file, 2 ** (count - index)), media, quality, one.origin)
            yield {"type": f"{kind}.partial_image", "b64_json": pictures.base64_of(file), "partial_image_index": index}
        seed = {} if one.seed is None else {"seed": one.seed}
        usage = Usage().model_dump()
        yield {"type": f"{kind}.completed", "b64_json": pictures.base64_of(one.file), "usage": usage, **seed}

    return "".join(f"event: {event['type']}\ndata: {json.dumps({**event, **common})}\n\n" for event in events())


def _coarser(file: bytes, times: int) -> Pixels:
    """The image with so many times fewer pixels a side."""
    image = models.decode(file)
    size = (max(1, image.width // times), max(1, image.height // times))
    return pictures.pixels_of(image.resize(size, Image.Resampling.BOX))

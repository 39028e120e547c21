"""What clients send to /v1/interpolate, /v1/translate, /v1/inspect and /v1/images/generations, and get as JSON."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from service.schemas import Body, ClassLabel, ImageFormat, Latent, ModelName, Quality, Seed, Truncation

MAX_KEYFRAMES = 32
MAX_FRAMES = 256
MAX_JOB_FRAMES = 10_000
_SIZE = r"^(auto|[1-9][0-9]{0,3}x[1-9][0-9]{0,3})$"


def _checked(size: str) -> str:
    if re.fullmatch(_SIZE, size) is None:
        raise PydanticCustomError("size", "Write a size as WIDTHxHEIGHT, such as 256x256, or auto")
    return size


Size = Annotated[str, AfterValidator(_checked), Field(json_schema_extra={"pattern": _SIZE})]


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


class TranslateRequest(Body):
    """The fields beside the images."""

    model: ModelName | None = None
    direction: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        "a_to_b", description="a_to_b, b_to_a, or the domain to translate to, such as zebra."
    )
    output: Literal["image", "zip", "json"] | None = Field(
        None, description="By default what Accept asks for; failing that, an image for one and a zip for more."
    )
    format: ImageFormat | None = Field(None, description="By default what Accept asks for; failing that, png.")
    quality: Quality = 90
    cycle: bool = Field(
        False,
        description="Also translate back, and report the mean absolute difference to the input, 0 (the same) to 1.",
    )


class TranslatedImage(BaseModel):
    """One image of a JSON answer."""

    name: str
    width: int
    height: int
    tiles: int = Field(description="1 for an image translated in one piece.")
    cycle_l1: float | None
    data: str = Field(description="The image file, base64.")


class TranslateAnswer(BaseModel):
    """The answer of /v1/translate as JSON."""

    model: str
    digest: str
    direction: Literal["a_to_b", "b_to_a"]
    format: ImageFormat
    images: list[TranslatedImage]


class InspectAnswer(BaseModel):
    """What an image says of itself."""

    format: str
    width: int
    height: int
    mode: str = Field(description="Pillow's name, such as RGB or L.")
    frames: int
    model: str | None
    digest: str | None
    seed: int | None
    text: dict[str, str] = Field(description="All text in a PNG.")
    served: bool = Field(description="The checkpoint that made it is served now.")
    sample: dict[str, object] | None = Field(description="The body that makes it again with POST /v1/sample.")


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

"""What clients send: bounds live in the types, so that the OpenAPI document and the checks cannot differ.

Bounds are ge/le and lengths only. JSON is read strictly ("3" is not 3); form fields and queries are text, so they
are not.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from models import SEED_LIMIT

MAX_IMAGES = 256
MAX_JOB_IMAGES = 10_000

Seed = Annotated[int, Field(ge=0, le=SEED_LIMIT - 1)]
Latent = Annotated[list[FiniteFloat], Field(min_length=1, max_length=4096)]
ClassLabel = Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1, max_length=200)]
ModelName = Annotated[str, Field(min_length=1, max_length=200, description="A name, alias or NAME@VERSION.")]
ImageFormat = Literal["png", "jpeg", "webp"]
Quality = Annotated[int, Field(ge=1, le=100, description="Of JPEG and WebP.")]
Truncation = Annotated[
    float, Field(ge=0.1, le=10.0, description="Latent components beyond it are drawn again: less varied, more typical.")
]


class Body(BaseModel):
    """The base of every request: unknown fields are errors, because a misspelt one would be ignored otherwise."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)


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

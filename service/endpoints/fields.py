"""What clients send: bounds live in the types, so that the OpenAPI document and the checks cannot differ.

Bounds are ge/le and lengths only. JSON is checked strictly: "3" is refused for a number. Form fields and query strings
can only be text, so there "3" is read as 3, if it is written as JSON has it.
"""

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat
from pydantic_core import PydanticCustomError

from models import SEED_LIMIT
from service.setting_values import NUMERAL

Protocol = Literal["pytorch-fid", "clean-fid"]

ReferenceName = Annotated[
    str, Field(min_length=1, max_length=64, description="1 to 64 letters, digits, dots, dashes and underscores.")
]


ExtractorName = Annotated[
    str,
    Field(min_length=1, max_length=64, description="A network that the operator offers in the Inception's place."),
]

MAX_IMAGES = 256

Seed = Annotated[int, Field(ge=0, le=SEED_LIMIT - 1), NUMERAL]
Latent = Annotated[list[Annotated[FiniteFloat, NUMERAL]], Field(fail_fast=True, min_length=1, max_length=4096)]
ModelName = Annotated[str, Field(min_length=1, max_length=200, description="A name, alias or NAME@VERSION.")]
Quality = Annotated[int, Field(ge=1, le=100, description="Of JPEG, WebP and AVIF."), NUMERAL]
Truncation = Annotated[
    float,
    Field(ge=0.1, le=10.0, description="Latent components beyond it are drawn again: less varied, more typical."),
    NUMERAL,
]


def listed(value: object) -> object:
    """A form has no lists: there, a list is what is written between commas, or JSON that begins with a bracket."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return [part.strip() for part in value.split(",")]
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise PydanticCustomError("listed", "Write a list as 1,2,3 or as JSON, such as [[0.5, 1.2]]") from None


class Skipped(BaseModel):
    """Files that came in an archive and are no images: they do not count."""

    endings: dict[str, int] = Field(description="How many, by their ending.")
    why: str


class Body(BaseModel):
    """The base of every request: unknown fields are errors, because a misspelt one would be ignored otherwise."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)

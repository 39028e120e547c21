"""What clients send to and get from /v1/score and /v1/references."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service.schemas import Body, ModelName, Seed, Truncation


def _split(value: object) -> object:
    """A form has no lists: `fid,kid`."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Protocol = Literal["pytorch-fid", "clean-fid"]
ReferenceName = Annotated[
    str, Field(min_length=1, max_length=64, description="1 to 64 letters, digits, dots, dashes and underscores.")
]
Metric = Literal["fid", "kid", "prdc", "is", "fid_infinity"]
Count = Annotated[int, Field(ge=2, le=1_000_000)]


class ScoreRequest(Body):
    """Two sets: `a` is judged, `b` is what it should look like (`is` alone needs no b).

    Each is given in one way: as files (form field a or b), as a named reference, or as a served model with a count.
    """

    a_reference: ReferenceName | None = None
    a_model: ModelName | None = None
    a_n: Count | None = Field(None, description="Images that the model draws.")
    a_seed: Seed = Field(0, description="Image i is drawn from seed + i, as POST /v1/sample does.")
    a_truncation: Truncation | None = None
    b_reference: ReferenceName | None = None
    b_model: ModelName | None = None
    b_n: Count | None = None
    b_seed: Seed = 0
    b_truncation: Truncation | None = None
    metrics: Annotated[list[Metric], BeforeValidator(_split), Field(min_length=1, max_length=16)] = Field(
        ["fid"], description="In a form separated by commas. prdc is precision, recall, density and coverage."
    )
    protocol: Protocol = Field("pytorch-fid", description="How images are resized to 299 x 299; both sets alike.")
    bootstrap: Annotated[int, Field(ge=0, le=1000)] = Field(
        200, description="Resamples behind the 95 % intervals; 0 leaves them out."
    )


class ScoredSet(BaseModel):
    """One of the two sets."""

    model_config = ConfigDict(extra="allow")

    n: int | None = Field(description="Images; null for statistics that do not say.")
    source: str = Field(description="files, statistics, reference NAME or NAME@VERSION.")


class ScoreAnswer(BaseModel):
    """What `metrics.score` returns: a member for each metric, and what was compared how."""

    model_config = ConfigDict(extra="allow")

    a: ScoredSet
    b: ScoredSet | None
    protocol: str | None
    extractor: str | None
    fid: dict[str, Any] | None = Field(None, description="Absent where it was not asked for, as the others are.")
    kid: dict[str, Any] | None = None
    precision: dict[str, Any] | None = None
    recall: dict[str, Any] | None = None
    density: dict[str, Any] | None = None
    coverage: dict[str, Any] | None = None
    fid_infinity: dict[str, Any] | None = None


class ReferenceRequest(Body):
    """A set to keep; the images go into the form field `images`."""

    name: ReferenceName
    protocol: Protocol = "pytorch-fid"


class ReferenceView(BaseModel):
    """A kept reference."""

    name: str
    n: int | None = Field(description="Images; null for uploaded statistics that do not say.")
    features: bool = Field(description="False for uploaded statistics without features: they serve for FID only.")
    protocol: str | None
    extractor: str | None
    source: str
    created_at: datetime
    digest: str = Field(description="SHA-256 of mu and sigma, as float64.")


class ReferenceList(BaseModel):
    """All references, by name."""

    references: list[ReferenceView]

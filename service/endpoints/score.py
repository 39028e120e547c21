"""POST /v1/score: `metrics.score` of two sets, on the scoring thread."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

import metrics
from metrics import FeatureSet, Images
from models.errors import InputError, LimitError
from service.call import Answer, Call, File, Progress
from service.endpoints.fields import Body, ExtractorName, ModelName, Protocol, ReferenceName, Seed, Skipped, Truncation
from service.http.body import FileField
from service.http.operation import Operation
from service.runtime import Runtime
from service.scoring import sets
from service.setting_values import NUMERAL


def _split(value: object) -> object:
    """A form has no lists: `fid,kid`."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Metric = Literal["fid", "kid", "prdc", "authenticity", "is", "fid_infinity"]

Count = Annotated[int, Field(ge=2, le=1_000_000), NUMERAL]


class ScoreRequest(Body):
    """Two sets: `a` is judged, `b` is what it should look like (`is` alone needs no b).

    Each is given in one way: as files (form field a or b), as a named reference, or as a served model with a count.
    """

    a_reference: ReferenceName | None = None
    a_model: ModelName | None = None
    a_n: Count | None = Field(None, description="Images that the model draws.")
    a_seed: Seed | None = Field(
        None, description="Image i is drawn from seed + i, as POST /v1/sample does; by default 0."
    )
    a_truncation: Truncation | None = None
    b_reference: ReferenceName | None = None
    b_model: ModelName | None = None
    b_n: Count | None = None
    b_seed: Seed | None = None
    b_truncation: Truncation | None = None
    metrics: Annotated[list[Metric], BeforeValidator(_split), Field(min_length=1, max_length=16)] = Field(
        ["fid"], description="In a form separated by commas. prdc is precision, recall, density and coverage."
    )
    protocol: Protocol = Field("pytorch-fid", description="How images are resized; both sets alike.")
    extractor: ExtractorName | None = None
    bootstrap: Annotated[int, Field(ge=0, le=1000), NUMERAL] = Field(
        200, description="Resamples behind the 95 % intervals; 0 leaves them out."
    )


class ScoredSet(BaseModel):
    """One of the two sets."""

    model_config = ConfigDict(extra="allow")

    n: int | None = Field(description="Images; null for statistics that do not say.")
    source: str = Field(description="files, statistics, reference NAME or NAME@VERSION.")
    skipped: Skipped | None = None


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
    authenticity: dict[str, Any] | None = None
    fid_infinity: dict[str, Any] | None = None


@dataclass(frozen=True)
class SetRequest:
    """One of the two sets, whose field is a or b, as the request gives it: ScoreRequest's without their a_ or b_."""

    field: str
    files: list[File]
    reference: str | None
    model: str | None
    n: int | None
    seed: int | None
    truncation: float | None

    @classmethod
    def a(cls, call: Call) -> "SetRequest":
        body: ScoreRequest = call.body
        files = call.files.get("a", [])
        return cls("a", files, body.a_reference, body.a_model, body.a_n, body.a_seed, body.a_truncation)

    @classmethod
    def b(cls, call: Call) -> "SetRequest":
        body: ScoreRequest = call.body
        files = call.files.get("b", [])
        return cls("b", files, body.b_reference, body.b_model, body.b_n, body.b_seed, body.b_truncation)

    @property
    def ways(self) -> list[str]:
        """In which ways the set is given; it should be one."""
        given = {"files": self.files, "a reference": self.reference, "a model": self.model or self.n}
        return [name for name, value in given.items() if value]


@dataclass(frozen=True)
class Side:
    """One of the two sets, ready to be read. `about` goes into the answer, so that the score can be made again."""

    source: Images | FeatureSet
    about: Mapping[str, Any]


async def prepare(runtime: Runtime, call: Call) -> tuple[Side, Side | None]:
    """The sets a and b, which `is` alone does without. Raises NotFoundError for an extractor, and as `_side` does."""
    request: ScoreRequest = call.body
    runtime.extractors.check(request.extractor)
    asked = SetRequest.b(call)
    a = await _side(runtime, call, SetRequest.a(call))
    alone = request.metrics == ["is"] and not asked.ways
    return a, None if alone else await _side(runtime, call, asked)


async def score(runtime: Runtime, call: Call) -> Answer:
    """Two sets to distances, with intervals and verdicts."""
    request: ScoreRequest = call.body
    a, b = await prepare(runtime, call)
    sides = [side for side in (a, b) if side is not None]
    named = request.extractor is not None
    network = named or "is" in request.metrics or any(isinstance(side.source, Images) for side in sides)

    def work(report: Progress) -> dict[str, Any]:
        return metrics.score(
            a.source,
            b.source if b is not None else None,
            metrics=request.metrics,
            protocol=request.protocol,
            extractor=runtime.extractors.named(request.extractor) if network else None,
            bootstrap=request.bootstrap,
            progress=report,
        )

    patience_s = None if call.is_job else runtime.settings.deadline_s
    result = await runtime.scorer.run(work, call.progress, patience_s=patience_s)
    about = {"a": {**result["a"], **a.about}, "b": {**result["b"], **b.about} if b is not None else None}
    return Answer.of({**result, **about})


async def _side(runtime: Runtime, call: Call, asked: SetRequest) -> Side:
    """The set that a request gives.

    Raises:
        InputError: given in no way, or in more than one.  NotFoundError: no such reference or model.
        LimitError: too many images.
    """
    side, ways = asked.field, asked.ways
    if len(ways) != 1:
        raise InputError(
            f"Give set {side} in one way: as files in the form field {side}, as {side}_reference, or as {side}_n "
            f"images of {side}_model; it has {' and '.join(ways) or 'none of them'}.",
            where=side,
        )
    if ways != ["a model"] and (asked.truncation is not None or asked.seed is not None):
        raise InputError(f"{side}_seed and {side}_truncation are for models.", where=f"{side}_seed")
    if asked.files:
        uploaded = await sets.uploaded(asked.files, side, runtime.settings)
        return Side(uploaded, {"source": "files" if isinstance(uploaded, Images) else "statistics"})
    if asked.reference is not None:
        kept = await runtime.references.get(asked.reference)
        features = await runtime.references.features(asked.reference)
        return Side(features, {"source": f"reference {asked.reference}", "digest": kept.digest})
    return _drawn(runtime, call, asked)


def _drawn(runtime: Runtime, call: Call, asked: SetRequest) -> Side:
    """What a served model draws for seeds seed, seed + 1, ...: the pixels that POST /v1/sample answers."""
    side, count = asked.field, asked.n
    if count is None:
        raise InputError(f"Say how many images the model shall draw: {side}_n.", where=f"{side}_n")
    most = runtime.settings.job_images if call.is_job else runtime.settings.set_files
    if count > most:
        raise LimitError(f"At most {most:,} images of a model are scored at once, not {count:,}.", where=f"{side}_n")
    served = runtime.registry.sampler(asked.model)
    seed, loop = asked.seed or 0, asyncio.get_running_loop()
    images = sets.stream(served.unit, served.id, count, seed, asked.truncation, loop)
    return Side(images, {"source": served.id, "digest": served.digest, "seed": seed})


SCORE = Operation(
    "POST",
    "/v1/score",
    "score",
    "Score a set against another",
    score,
    "score",
    prepare,
    description=(
        "Answers 503 with Retry-After while another set is being scored, and 504 for sets that take longer than the "
        "deadline: submit those as jobs (POST /v1/jobs/score), which also tell how far they are."
    ),
    body=ScoreRequest,
    files=(
        FileField(
            "a",
            "Images, or one zip or tar of them, or one .npz of images or statistics.",
            required=False,
            most=sets.MOST_FILES,
        ),
        FileField("b", "The same.", required=False, most=sets.MOST_FILES),
    ),
    answers={"application/json": ScoreAnswer},
    errors=(404, 413, 415, 422, 503, 504),
)

"""POST /v1/score: a thin caller of `metrics.score`, on the scoring thread."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import JSONResponse, Response

import metrics
from metrics import FeatureSet, Images
from models.errors import InputError, LimitError
from service.endpoints import score as score_module
from service.endpoints.fields import Body, ModelName, Protocol, ReferenceName, Seed, Truncation
from service.engine.sampler import Sampler
from service.http.body import FileField
from service.http.operation import Call, Operation
from service.registry.checkpoints import Served
from service.runtime import Core
from service.scoring import sets
from service.scoring.worker import Report


def _split(value: object) -> object:
    """A form has no lists: `fid,kid`."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


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


@dataclass(frozen=True)
class Drawn:
    """Images that a served model draws, and which version of it."""

    images: Images
    served: Served


def drawn(
    core: "Core", model: str | None, count: int, seed: int, truncation: float | None, loop: asyncio.AbstractEventLoop
) -> Drawn:
    """What a served model draws for seeds seed, seed + 1, ...: the pixels that POST /v1/sample answers.

    Args:
        loop: the event loop that the batcher lives on; the loaders are called from another thread.
    Raises:
        NotFoundError, InputError: no such model, or not one that draws.
    """
    served = core.registry.get(model, Sampler)
    assert isinstance(served.unit, Sampler)
    images = sets.stream(served.unit, served.id, count, seed, truncation, loop)
    return Drawn(images, served)


@dataclass(frozen=True)
class Side:
    """One of the two sets. `about` goes into the answer, so that the score can be made again."""

    source: Images | FeatureSet
    about: Mapping[str, Any]


async def score(core: Core, call: Call) -> Response:
    """Two sets to distances, with intervals and verdicts."""
    request: ScoreRequest = call.body
    a = await _side(core, call, "a")
    alone = request.metrics == ["is"] and not _ways(call, "b")
    b = None if alone else await _side(core, call, "b")
    sides = [side for side in (a, b) if side is not None]
    network = "is" in request.metrics or any(isinstance(side.source, Images) for side in sides)

    def work(report: Report) -> dict[str, Any]:
        return metrics.score(
            a.source,
            b.source if b is not None else None,
            metrics=request.metrics,
            protocol=request.protocol,
            extractor=core.extractor() if network else None,
            bootstrap=request.bootstrap,
            progress=report,
        )

    patience_s = core.settings.deadline_s if call.progress is None else None
    result = await core.scorer.run(work, call.progress, patience_s=patience_s)
    about = {"a": {**result["a"], **a.about}, "b": {**result["b"], **b.about} if b is not None else None}
    return JSONResponse({**result, **about})


def _ways(call: Call, side: str) -> list[str]:
    """In which ways the request gives a set."""
    given = {
        "files": call.files.get(side),
        "a reference": getattr(call.body, f"{side}_reference"),
        "a model": getattr(call.body, f"{side}_model") or getattr(call.body, f"{side}_n"),
    }
    return [name for name, value in given.items() if value]


async def _side(core: Core, call: Call, side: str) -> Side:
    """The set that a request gives as `a` or `b`.

    Raises:
        InputError: given in no way, or in more than one.  NotFoundError: no such reference or model.
        LimitError: too many images.
    """
    request: ScoreRequest = call.body
    reference, model, count, seed, truncation = (
        getattr(request, f"{side}_{name}") for name in ("reference", "model", "n", "seed", "truncation")
    )
    ways = _ways(call, side)
    if len(ways) != 1:
        raise InputError(
            f"Give set {side} in one way: as files in the form field {side}, as {side}_reference, or as {side}_n "
            f"images of {side}_model; it has {' and '.join(ways) or 'none of them'}.",
            where=side,
        )
    if ways != ["a model"] and (truncation is not None or f"{side}_seed" in request.model_fields_set):
        raise InputError(f"{side}_seed and {side}_truncation are for models.", where=f"{side}_seed")
    if ways == ["files"]:
        uploaded = await sets.uploaded(call.files[side], side, core.settings)
        return Side(uploaded, {"source": "files" if isinstance(uploaded, Images) else "statistics"})
    if ways == ["a reference"]:
        kept = await core.references.get(reference)
        features = await core.references.features(reference)
        return Side(features, {"source": f"reference {reference}", "digest": kept.digest})
    if count is None:
        raise InputError(f"Say how many images the model shall draw: {side}_n.", where=f"{side}_n")
    most = core.settings.set_files if call.progress is None else core.settings.job_images
    if count > most:
        raise LimitError(f"At most {most:,} images of a model are scored at once, not {count:,}.", where=f"{side}_n")
    drawn = score_module.drawn(core, model, count, seed, truncation, asyncio.get_running_loop())
    return Side(drawn.images, {"source": drawn.served.id, "digest": drawn.served.digest, "seed": seed})


SCORE = Operation(
    "POST",
    "/v1/score",
    "score",
    "Score a set against another",
    score,
    "score",
    description=(
        "Answers 503 with Retry-After while another set is being scored, and 504 for sets that take longer than the "
        "deadline: submit those as jobs (POST /v1/jobs/score), which also tell how far they are."
    ),
    body=ScoreRequest,
    files=(
        FileField(
            "a", "Images, or one zip or tar of them, or one .npz of statistics.", required=False, most=sets.MOST_FILES
        ),
        FileField("b", "The same.", required=False, most=sets.MOST_FILES),
    ),
    answers={"application/json": ScoreAnswer},
    errors=(404, 413, 415, 422, 503, 504),
)

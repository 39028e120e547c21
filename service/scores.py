"""POST /v1/score: a thin caller of `metrics.score`, on the scoring thread."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response

import metrics
from metrics import FeatureSet, Images
from models.errors import InputError, LimitError
from service import sets
from service.core import Core
from service.operations import Call, Operation
from service.schemas_score import ScoreAnswer, ScoreRequest
from service.scoring import Report
from service.uploads import FileField


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
    drawn = sets.drawn(core, model, count, seed, truncation, asyncio.get_running_loop())
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

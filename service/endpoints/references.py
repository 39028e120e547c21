"""References over HTTP: kept, listed, downloaded, removed."""

from dataclasses import asdict, replace
from datetime import UTC, datetime

from pydantic import BaseModel, Field

import metrics
from metrics import FeatureSet, Images
from models.errors import InputError
from service.call import Answer, Call, Progress
from service.endpoints.fields import Body, ExtractorName, Protocol, ReferenceName, Skipped
from service.http.body import FileField
from service.http.operation import Operation
from service.runtime import Runtime
from service.scoring import sets
from service.scoring.references import Reference


class ReferenceRequest(Body):
    """A set to keep; the images go into the form field `images`."""

    name: ReferenceName
    protocol: Protocol = "pytorch-fid"
    extractor: ExtractorName | None = None


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
    skipped: Skipped | None = None


class ReferenceList(BaseModel):
    """All references, by name."""

    references: list[ReferenceView]


def view(reference: Reference) -> ReferenceView:
    """As clients see it."""
    created = datetime.fromtimestamp(reference.created_at, UTC)
    return ReferenceView(**{**asdict(reference), "created_at": created})


async def prepare(runtime: Runtime, call: Call) -> Images | FeatureSet:
    """The set. Raises ConflictError for a name that is taken, NotFoundError for an extractor, and as `sets.uploaded`
    does."""
    request: ReferenceRequest = call.body
    await runtime.references.check_free(request.name)
    runtime.extractors.check(request.extractor)
    source = await sets.uploaded(call.files["images"], "images", runtime.settings)
    return source if isinstance(source, Images) else _checked(source, request)


async def create(runtime: Runtime, call: Call) -> Answer:
    """A set to statistics, kept under a name."""
    request: ReferenceRequest = call.body
    source = await prepare(runtime, call)
    kept = await _extracted(runtime, call, source, request) if isinstance(source, Images) else source
    skipped = source.left_out if isinstance(source, Images) else None
    reference = await runtime.references.add(request.name, kept, source.name, skipped)
    headers = {"Location": f"/v1/references/{reference.name}"}
    return Answer.of(view(reference), headers=headers, status=201)


async def _extracted(runtime: Runtime, call: Call, images: Images, request: ReferenceRequest) -> FeatureSet:
    def work(report: Progress) -> FeatureSet:
        network = runtime.extractors.named(request.extractor)
        return metrics.features(images, protocol=request.protocol, extractor=network, progress=report)

    patience_s = None if call.is_job else runtime.settings.deadline_s
    return await runtime.scorer.run(work, call.progress, patience_s=patience_s)


def _checked(kept: FeatureSet, request: ReferenceRequest) -> FeatureSet:
    """Statistics under the protocol; pytorch-fid's files do not say theirs, and are taken at the caller's word."""
    protocol = request.protocol
    if request.extractor is not None:
        raise InputError("Statistics say themselves what extracted them: leave extractor out.", where="extractor")
    if kept.statistics.protocol not in (None, protocol):
        raise InputError(
            f"These statistics say that they were made with the protocol {kept.statistics.protocol}, not {protocol}.",
            where="protocol",
        )
    return replace(kept, statistics=replace(kept.statistics, protocol=protocol))


async def list_all(runtime: Runtime, _: Call) -> Answer:
    """Every reference, by name."""
    answer = ReferenceList(references=[view(one) for one in await runtime.references.all()])
    return Answer.of(answer)


async def get(runtime: Runtime, call: Call) -> Answer:
    reference = await runtime.references.get(call.parameters["name"])
    return Answer.of(view(reference))


async def download(runtime: Runtime, call: Call) -> Answer:
    """The numbers, as pytorch-fid reads them."""
    reference = await runtime.references.get(call.parameters["name"])
    data = await runtime.references.statistics(reference.name)
    headers = {"Content-Disposition": f'attachment; filename="{reference.name}.npz"', "ETag": f'"{reference.digest}"'}
    return Answer(data, "application/x-npz", headers)


async def delete(runtime: Runtime, call: Call) -> Answer:
    """Removes it and answers what it was."""
    reference = await runtime.references.delete(call.parameters["name"])
    return Answer.of(view(reference))


_VIEW = {"application/json": ReferenceView}
_PATH = "/v1/references/{name}"

CREATE_REFERENCE = Operation(
    "POST",
    "/v1/references",
    "reference",
    "Keep a set's statistics",
    create,
    "references",
    prepare,
    description="A large set takes longer than a request may: send it to POST /v1/jobs/reference.",
    body=ReferenceRequest,
    files=(FileField("images", "Images, or one zip or tar of them, or one .npz of statistics.", most=sets.MOST_FILES),),
    status=201,
    answers=_VIEW,
    headers={"Location": "The reference's address."},
    errors=(404, 409, 413, 415, 422, 503, 504),
)
LIST_REFERENCES = Operation(
    "GET",
    "/v1/references",
    "references",
    "List the references",
    list_all,
    "references",
    answers={"application/json": ReferenceList},
)
GET_REFERENCE = Operation(
    "GET", _PATH, "get_reference", "Look at a reference", get, "references", answers=_VIEW, errors=(404,)
)
DOWNLOAD_REFERENCE = Operation(
    "GET",
    f"{_PATH}/npz",
    "download_reference",
    "Download a reference",
    download,
    "references",
    description="An .npz with mu and sigma, as pytorch-fid reads it.",
    answers={"application/x-npz": None},
    errors=(404,),
)
DELETE_REFERENCE = Operation(
    "DELETE", _PATH, "delete_reference", "Remove a reference", delete, "references", answers=_VIEW, errors=(404,)
)

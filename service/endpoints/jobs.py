"""Jobs over HTTP: the same endpoints, run later.

    POST /v1/jobs/score        the body of POST /v1/score        202 and the job; the same for the other endpoints
    GET /v1/jobs/{id}          state, progress, seconds left
    GET /v1/jobs/{id}/result   what the request would have been answered: same body, same headers, same errors
    DELETE /v1/jobs/{id}       cancels; removes a job that is over

`job_of(operation)` makes the first kind from any operation, so a job can do neither more nor less than its request.
With an `Idempotency-Key` header, submitting again (after a lost answer) finds the first job instead of a second one.
"""

import asyncio
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field
from starlette.datastructures import Headers, UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message

from service.encoding.pictures import zip_of
from service.http.answers import error_response
from service.http.operation import Call, Handler, Operation
from service.jobs.jobs import Progress, Runner
from service.jobs.records import Outcome, Record, State

if TYPE_CHECKING:
    from service.runtime import Core

_REQUEST = "request.json"


class JobProgress(BaseModel):
    """How far a job is, in images (or in steps, for work without images)."""

    done: int
    total: int = Field(description="0 until it is known.")
    seconds_left: float | None = Field(description="By the pace so far; null until there is one.")


class JobView(BaseModel):
    """A job."""

    id: str
    kind: str
    state: State
    progress: JobProgress
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempts: int = Field(description="More than 1: the service went down while running it, and began again.")
    note: str | None = Field(description="What the state means where it needs saying.")
    result: str | None = Field(description="Where the result is, once there is one.")


def view(record: Record) -> JobView:
    return JobView(
        id=record.id,
        kind=record.kind,
        state=record.state,
        progress=JobProgress(done=record.done, total=record.total, seconds_left=record.seconds_left),
        created_at=_when(record.created_at),
        started_at=_when(record.started_at) if record.started_at else None,
        finished_at=_when(record.finished_at) if record.finished_at else None,
        attempts=record.attempts,
        note=_note(record),
        result=f"/v1/jobs/{record.id}/result" if record.status is not None else None,
    )


def _note(record: Record) -> str | None:
    if record.state == "interrupted":
        return f"The service was stopped short {record.attempts} times by this job and gave it up; submit it again."
    if record.state == "failed":
        return f"The work ended in an error ({record.status}); the result says which."
    return "Begun again after a restart of the service." if record.attempts > 1 else None


def _when(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def job_of(operation: Operation, body: type[BaseModel] | None = None) -> Operation:
    """The operation that submits `operation` as a job; `body` where a job may ask for more than a request."""
    return Operation(
        "POST",
        f"/v1/jobs/{operation.name}",
        f"submit_{operation.name}",
        f"{operation.summary}, as a job",
        _submit(operation),
        "jobs",
        description=f"Takes what POST {operation.path} takes, and answers at once.",
        body=body or operation.body,
        files=operation.files,
        status=202,
        answers={"application/json": JobView},
        headers={"Location": "The job's address."},
        request_headers={"Idempotency-Key": "Any unique text; sent again, it finds the job instead of making another."},
        errors=(409,),
        examples=operation.examples,
    )


def _submit(operation: Operation) -> Handler:
    async def submit(core: "Core", call: Call) -> Response:
        files = {name: [(one.filename or name, await one.read()) for one in many] for name, many in call.files.items()}
        payload = await core.encode(_pack, call, files)
        sent = call.request.headers
        client = sent.get("authorization") or sent.get("x-api-key") or ""
        record = await core.jobs.submit(operation.name, payload, sent.get("idempotency-key"), client)
        headers = {"Location": f"/v1/jobs/{record.id}"}
        return JSONResponse(view(record).model_dump(mode="json"), 202, headers)

    return submit


def _pack(call: Call, files: Mapping[str, Sequence[tuple[str, bytes]]]) -> bytes:
    """What was asked, as one file. The same request gives the same bytes."""
    body = call.body.model_dump(mode="json", by_alias=True, exclude_unset=True) if call.body else None
    names = {field: [name for name, _ in many] for field, many in files.items()}
    asked = {"accept": call.request.headers.get("accept", "*/*"), "body": body, "files": names}
    contents = {f"{field}/{i}": data for field, many in files.items() for i, (_, data) in enumerate(many)}
    return zip_of({_REQUEST: json.dumps(asked, sort_keys=True).encode(), **contents})


def runner(core: "Core", job: Operation, handler: Handler) -> Runner:
    """Runs `handler` on what a job of the operation `job` was asked, and keeps the answer."""

    async def run(payload: bytes, progress: Progress) -> Outcome:
        try:
            call = await core.encode(_unpack, job.body, payload, progress)
            response = await handler(core, call)
        except Exception as error:
            response = error_response(error)
        return await _collected(response)

    return run


def _unpack(body: type[BaseModel] | None, payload: bytes, progress: Progress) -> Call:
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        asked: dict[str, Any] = json.loads(archive.read(_REQUEST))
        files = {
            field: [
                UploadFile(io.BytesIO(data := archive.read(f"{field}/{i}")), size=len(data), filename=name)
                for i, name in enumerate(names)
            ]
            for field, names in asked["files"].items()
        }
    scope = {"type": "http", "headers": Headers({"accept": asked["accept"]}).raw}
    checked = body.model_validate_json(json.dumps(asked["body"])) if body else None
    return Call(Request(scope), checked, files, progress)


async def _collected(response: Response) -> Outcome:
    """Any response, streamed or not, as bytes."""
    parts: list[bytes] = []

    async def send(message: Message) -> None:
        parts.append(message.get("body", b""))

    async def receive() -> Message:
        await asyncio.Event().wait()  # nobody hangs up
        return {"type": "http.disconnect"}

    await response({"type": "http", "method": "GET", "headers": []}, receive, send)
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    return Outcome(response.status_code, headers, b"".join(parts))


async def get_job(core: "Core", call: Call) -> Response:
    record = await core.jobs.get(call.request.path_params["id"])
    return JSONResponse(view(record).model_dump(mode="json"))


async def get_result(core: "Core", call: Call) -> Response:
    outcome = await core.jobs.result(call.request.path_params["id"])
    return Response(outcome.body, outcome.status, outcome.headers)


async def delete_job(core: "Core", call: Call) -> Response:
    record = await core.jobs.delete(call.request.path_params["id"])
    return JSONResponse(view(record).model_dump(mode="json"))


_VIEW = {"application/json": JobView}

GET_JOB = Operation("GET", "/v1/jobs/{id}", "job", "Look at a job", get_job, "jobs", answers=_VIEW, errors=(404,))
GET_RESULT = Operation(
    "GET",
    "/v1/jobs/{id}/result",
    "job_result",
    "Fetch a job's result",
    get_result,
    "jobs",
    description="The answer that the request itself would have had, also where that is an error.",
    answers={"*/*": None},
    errors=(404, 406, 409, 413, 415, 422),
)
DELETE_JOB = Operation(
    "DELETE",
    "/v1/jobs/{id}",
    "delete_job",
    "Cancel or remove a job",
    delete_job,
    "jobs",
    description="Cancels a job that is not over (its last state is answered); removes one that is.",
    answers=_VIEW,
    errors=(404,),
)

"""Jobs over HTTP: the same endpoints, run later.

    POST /v1/jobs/score        the body of POST /v1/score        202 and the job; the same for the other endpoints
    GET /v1/jobs/{id}          state, progress, seconds left
    GET /v1/jobs/{id}/result   what the request would have been answered: same body, same headers, same errors; in
                               the form that the body asked for, since the submission's Accept is about the 202
    GET /v1/jobs/{id}/events   the same as it changes (events.py)
    DELETE /v1/jobs/{id}       cancels; removes a job that is over

`job_of(operation)` makes the first kind from any operation that says how it prepares, so a job can do neither more nor
less than its request, and is refused at its submission for what the request is refused for before any work.
With an `Idempotency-Key` header, submitting again (after a lost answer) finds the first job instead of a second one.
"""

import asyncio
import dataclasses
import errno
import functools
from typing import BinaryIO

from pydantic import BaseModel, Field, create_model

from models.errors import OverloadError
from service.call import Answer, Call, Report
from service.http.answers import error_answer
from service.http.operation import Handler, Operation
from service.jobs import envelope
from service.jobs.jobs import Runner, UnreadableError
from service.jobs.view import JobView, view
from service.runtime import Runtime

_KEY = "Idempotency-Key"
_RETRY_S = 60.0


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
        body=_with_callback(body or operation.body),
        files=operation.files,
        status=202,
        answers={"application/json": JobView},
        headers={"Location": "The job's address."},
        request_headers={_KEY: "Any unique text; sent again, it finds the job instead of making another."},
        errors=(409, *(status for status in operation.errors if status != 406)),  # whatever its Accept says
        examples=operation.examples,
    )


def _with_callback(body: type[BaseModel] | None) -> type[BaseModel]:
    """What a job takes besides."""
    assert body is not None
    field = Field(None, max_length=2000, description="An address that is told when the job is over: docs/api/jobs.md.")
    name = f"{body.__name__.removesuffix('Request').removesuffix('Job')}Job"
    return create_model(name, __base__=body, __doc__=body.__doc__, callback=(str | None, field))


def _submit(operation: Operation) -> Handler:
    assert operation.prepare is not None
    prepare = operation.prepare

    async def submit(runtime: Runtime, call: Call) -> Answer:
        packed = await asyncio.to_thread(envelope.pack_call, call)
        becomes = dataclasses.replace(call, accept="*/*", is_job=True)  # what the envelope keeps of it
        record = await runtime.jobs.submit(
            operation.name,
            packed,
            call.parameters.get(_KEY),
            call.caller,
            call.principal,
            call.body.callback,
            functools.partial(prepare, runtime, becomes),
        )
        return Answer.of(view(record), headers={"Location": f"/v1/jobs/{record.id}"}, status=202)

    return submit


def runner(runtime: Runtime, job: Operation, handler: Handler) -> Runner:
    """Calls `handler` as an endpoint does, with what a job of the operation `job` was asked."""

    async def run(packed: bytes, seed: int, report: Report, spool: BinaryIO) -> Answer:
        try:
            call = await asyncio.to_thread(envelope.unpack_call, packed, job.body, seed, report, spool)
        except (ValueError, TypeError, LookupError) as error:  # whoever accepted it could read it
            raise UnreadableError(str(error)) from error
        try:
            return await handler(runtime, call)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                return error_answer(error)
            full = "The service has no room for temporary files. Its operator has to see to it."
            return error_answer(OverloadError(full, retry_after_s=_RETRY_S))
        except Exception as error:
            return error_answer(error)

    return run


async def get_job(runtime: Runtime, call: Call) -> Answer:
    return Answer.of(view(await runtime.jobs.get(call.parameters["id"], call.principal)))


async def get_result(runtime: Runtime, call: Call) -> Answer:
    """The kept answer, whatever Accept says: there is no other form of it, and generated clients ask for JSON."""
    return await runtime.jobs.result(call.parameters["id"], call.principal)


async def delete_job(runtime: Runtime, call: Call) -> Answer:
    return Answer.of(view(await runtime.jobs.delete(call.parameters["id"], call.principal)))


_VIEW = {"application/json": JobView}

GET_JOB = Operation("GET", "/v1/jobs/{id}", "job", "Look at a job", get_job, "jobs", answers=_VIEW, errors=(404,))
GET_RESULT = Operation(
    "GET",
    "/v1/jobs/{id}/result",
    "job_result",
    "Fetch a job's result",
    get_result,
    "jobs",
    description=(
        "The answer that the request itself would have had, also where that is an error. Of more than 8 MiB, parts can "
        "be asked for by Range (206); where they are kept in a bucket, the answer is 307 to an address there, which is "
        "good for five minutes and wants no key."
    ),
    answers={"*/*": None},
    errors=(404, 409, 413, 415, 416, 422),
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

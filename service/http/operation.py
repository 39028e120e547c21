"""One endpoint = one `Operation`: what it reads, what it answers, the function that does it.

    request ── read (uploads.py: types, limits, bounds) ── handler(core, call) ── Response
                 any exception ── errors.error_response ── one JSON shape

The same table makes the routes (app.py for POST as BentoML apis, routes.py for the rest) and the OpenAPI document
(openapi.py), so that the two cannot tell different stories.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.errors import DeadlineError, SlowUploadError
from service.http.answers import error_response
from service.http.body import FileField, read_body

if TYPE_CHECKING:
    from service.runtime import Core

Content = type[BaseModel] | Mapping[str, Any] | None
"""A response body: a pydantic model, a JSON schema, or None for bytes."""


@dataclass(frozen=True)
class Call:
    """One request, read and checked.

    Attributes:
        body: the operation's `body` model, filled from JSON, form fields or, for GET, the query.
        files: uploads by field name; they are closed after the handler returns.
        progress: where a job reports (done, total); None for a request, which somebody waits for.
    """

    request: Request
    body: Any
    files: Mapping[str, list[UploadFile]] = field(default_factory=dict)
    progress: Callable[[int, int], None] | None = None


Handler = Callable[["Core", Call], Awaitable[Response]]


@dataclass(frozen=True)
class Operation:
    """An endpoint.

    Attributes:
        path: as Starlette writes it, such as /v1/references/{name}.
        body: model of the JSON body; with `files`, of the form's other fields; for GET and DELETE, of the query.
        answers: media type -> content of a successful answer.
        headers: of the answer.  request_headers: those that mean something to this endpoint; name -> description.
        errors: statuses that it can answer besides those every endpoint can (see openapi.py).
        examples: name -> a body that works, shown in the documentation and run by the tests.
        cancellable: stop the handler when the client leaves.
    """

    method: str
    path: str
    name: str
    summary: str
    handler: Handler
    tag: str
    description: str = ""
    body: type[BaseModel] | None = None
    files: tuple[FileField, ...] = ()
    status: int = HTTPStatus.OK
    answers: Mapping[str, Content] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    request_headers: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[int, ...] = ()
    examples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    cancellable: bool = True

    @property
    def takes_json(self) -> bool:
        """Where no file has to come, JSON says the same as a form."""
        return self.body is not None and not any(one.required for one in self.files)


async def run(operation: Operation, core: "Core", request: Request) -> Response:
    """Reads the request, calls the handler within the deadline, and turns whatever is raised into an answer."""
    settings = core.settings
    request.scope["gan.endpoint"] = operation.name  # for the logs and metrics of middleware.py
    end = asyncio.get_running_loop().time() + settings.deadline_s  # of upload and work together
    try:
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout_at(end):
                    body, files = await read_body(operation.body, operation.files, request, settings, stack)
            except TimeoutError:
                raise SlowUploadError(f"The request did not arrive within {settings.deadline_s:g} s.") from None
            call = Call(request, body, files)
            try:
                async with asyncio.timeout_at(end):
                    return await _unless_gone(operation, core, call)
            except TimeoutError:
                raise DeadlineError(
                    f"This was not done within {settings.deadline_s:g} s: ask for less at once, or submit a job."
                ) from None
    except Exception as error:
        return error_response(error)


async def _unless_gone(operation: Operation, core: "Core", call: Call) -> Response:
    """The handler's answer; when the client leaves first, the handler is cancelled and its queued work skipped."""
    work = asyncio.ensure_future(operation.handler(core, call))
    if not operation.cancellable:
        return await work
    gone = asyncio.ensure_future(_disconnected(call.request))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return work.result()
    finally:
        work.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

"""One endpoint = one `Operation`: what it reads, what it answers, the function that does it.

    request ── read (body.py: types, limits, bounds) ── Call ── handler ── Answer ── response
                 any exception ── answers.error_answer ──────────┘

This is the only file that turns requests into calls and answers into responses. The same table makes the routes, the
jobs' runners (routes.py) and the OpenAPI document (openapi.py), so that they cannot tell different stories.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.call import Answer, Call
from service.errors import DeadlineError, SlowUploadError
from service.http.answers import error_answer, response
from service.http.body import FileField, read_body
from service.runtime import Runtime

Content = type[BaseModel] | Mapping[str, Any] | None
"""A response body: a pydantic model, a JSON schema, or None for bytes."""

Handler = Callable[[Runtime, Call], Awaitable[Answer]]

Prepare = Callable[[Runtime, Call], Awaitable[object]]
"""What a handler begins with: raises whatever a call is refused for that can be known before the work itself."""


@dataclass(frozen=True)
class Operation:
    """An endpoint.

    Attributes:
        path: as Starlette writes it, such as /v1/references/{name}.
        prepare: of an endpoint that has a job, which is refused at its submission as the request would be.
        body: model of the JSON body; with `files`, of the form's other fields; for GET and DELETE, of the query.
        answers: media type -> content of a successful answer.
        headers: of the answer.
        request_headers: those that mean something to this endpoint, which gets them among the call's parameters;
            name -> description.
        empty: other statuses of success, which have no body; status -> when.
        errors: statuses that it can answer besides those every endpoint can (see openapi.py).
        examples: name -> a body that works, shown in the documentation and run by the tests.
    """

    method: str
    path: str
    name: str
    summary: str
    handler: Handler
    tag: str
    prepare: Prepare | None = None
    description: str = ""
    body: type[BaseModel] | None = None
    files: tuple[FileField, ...] = ()
    status: int = HTTPStatus.OK
    answers: Mapping[str, Content] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    request_headers: Mapping[str, str] = field(default_factory=dict)
    empty: Mapping[int, str] = field(default_factory=dict)
    errors: tuple[int, ...] = ()
    examples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def takes_json(self) -> bool:
        """Where no file has to come, JSON says the same as a form."""
        return self.body is not None and not any(one.required for one in self.files)


async def run(operation: Operation, runtime: Runtime, request: Request) -> Response:
    """Reads the request, calls the handler within the deadline, and turns whatever is raised into an answer."""
    request.scope["gan.endpoint"] = operation.name  # for the logs and metrics of edge.py
    try:
        return response(await _answered(operation, runtime, request))
    except Exception as error:
        return response(error_answer(error))


async def _answered(operation: Operation, runtime: Runtime, request: Request) -> Answer:
    seconds = runtime.settings.deadline_s
    end = asyncio.get_running_loop().time() + seconds  # of upload and work together
    async with contextlib.AsyncExitStack() as files:
        try:
            async with asyncio.timeout_at(end):
                call = await _read(operation, runtime, request, files)
        except TimeoutError:
            raise SlowUploadError(f"The request did not arrive within {seconds:g} s.") from None
        try:
            async with asyncio.timeout_at(end):
                return await _unless_gone(operation.handler(runtime, call), request)
        except TimeoutError:
            raise DeadlineError(
                f"This was not done within {seconds:g} s: ask for less at once, or submit a job."
            ) from None


async def _read(operation: Operation, runtime: Runtime, request: Request, files: contextlib.AsyncExitStack) -> Call:
    body, uploads = await read_body(operation.body, operation.files, request, runtime.settings, files)
    named = {name: request.headers[name] for name in operation.request_headers if name in request.headers}
    return Call(
        accept=", ".join(request.headers.getlist("accept")),
        parameters={**request.path_params, **named},
        body=body,
        files=uploads,
        caller=request.scope.get("gan.caller", ""),
        principal=request.scope.get("gan.principal"),
        stopping=request.scope.get("gan.stopping") or asyncio.Event(),
    )


async def _unless_gone(handler: Awaitable[Answer], request: Request) -> Answer:
    """The handler's answer; when the client leaves first, the handler is cancelled and its queued work skipped."""
    work = asyncio.ensure_future(handler)
    gone = asyncio.ensure_future(_disconnected(request))
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

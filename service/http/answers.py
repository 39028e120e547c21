"""From exceptions to answers: the one place where a status is chosen.

Every body is `{"error": {"code", "message", "where"}}`; `Retry-After` goes with 429 and 503. `FAULTS` is the one list
of statuses: errors are answered by it, the OpenAPI document describes them by it, and a test holds docs/api/errors.md
to it.
"""

import io
import logging
import math
import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from models.errors import (
    BrokenImageError,
    CheckpointError,
    ConflictError,
    GanError,
    ImageError,
    InputError,
    LimitError,
    NotFoundError,
    OverloadError,
    WeightsUnavailable,
)
from service.call import Answer
from service.errors import (
    CodingError,
    DeadlineError,
    MediaTypeError,
    MethodError,
    NotAcceptableError,
    RangeError,
    RateLimitError,
    SlowUploadError,
    UnauthorizedError,
)

_log = logging.getLogger("gan")
_WEIGHTS_RETRY_S = 3600  # the operator has to act


class ErrorDetail(BaseModel):
    """What was wrong, where, and what would be right."""

    code: str = Field(description="For programs; stays the same.")
    message: str = Field(description="For people.")
    where: str | None = Field(description="The field, file or header at fault.")


class ErrorBody(BaseModel):
    """The one shape of every error."""

    error: ErrorDetail


@dataclass(frozen=True)
class Fault:
    """How a kind of error is answered; `about` is what the documentation says of it."""

    status: int
    code: str
    about: str


FAULTS: Mapping[type[Exception], Fault] = {
    InputError: Fault(400, "invalid_input", "A field is wrong, missing or unknown."),
    UnauthorizedError: Fault(401, "unauthorized", "An API key is needed, or the one given is not known."),
    NotFoundError: Fault(404, "not_found", "There is no such model, reference, job or address."),
    MethodError: Fault(405, "method_not_allowed", "The path takes other methods."),
    NotAcceptableError: Fault(406, "not_acceptable", "Accept allows none of the formats there are."),
    SlowUploadError: Fault(408, "request_timeout", "The request did not arrive in time."),
    ConflictError: Fault(409, "conflict", "It exists already, or it is not there yet."),
    LimitError: Fault(413, "too_large", "Past a stated limit: bytes, pixels, files or fields."),
    MediaTypeError: Fault(415, "unsupported_media_type", "A body of a type that is not read."),
    ImageError: Fault(415, "unsupported_image", "A file that is no image, or of a kind that is not read."),
    RangeError: Fault(416, "range_not_satisfiable", "The result has no such bytes."),
    BrokenImageError: Fault(422, "broken_image", "An image file that is truncated or corrupt."),
    RateLimitError: Fault(429, "rate_limited", "The key's requests a minute are used up."),
    CheckpointError: Fault(500, "broken_checkpoint", "A model's file cannot be used."),
    OverloadError: Fault(503, "overloaded", "Too much is waiting, or models are being loaded."),
    WeightsUnavailable: Fault(503, "weights_unavailable", "The FID weights are not at hand."),
    DeadlineError: Fault(504, "deadline_exceeded", "Not done within the deadline."),
}
INTERNAL = Fault(500, "internal", "A fault of the service's own.")
SERVER_FAULTS = (
    INTERNAL,
    Fault(431, "headers_too_large", "The headers are longer, or more, than the limits allow."),
    Fault(501, "not_implemented", "The request uses what the server does not do."),
)
"""What stands for no class of our errors: protocol.py raises them as HTTP errors."""


def about(status: int) -> str:
    """What the documentation says of a status."""
    return " ".join(dict.fromkeys(fault.about for fault in FAULTS.values() if fault.status == status))


def error_answer(error: Exception) -> Answer:
    """The answer to any exception; what nobody foresaw is logged and answered 500 without its text.

    What the error passed on its way is let go: the frames in its traceback hold uploads and photos, and tasks that hold
    the error again, a circle that waits for the garbage collector with gigabytes in it.
    """
    answer = _answer_to(error)
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
    return answer


def _answer_to(error: Exception) -> Answer:
    if isinstance(error, ValidationError):
        return _answer(FAULTS[InputError], *describe(error))
    if isinstance(error, ClientDisconnect):  # nobody is there to read it
        return _answer(FAULTS[InputError], "The client left before the answer.", None)
    if isinstance(error, HTTPException):  # Starlette's own: of its router and its files
        return _of_starlette(error)
    fault = next((FAULTS[kind] for kind in type(error).__mro__ if kind in FAULTS), None)
    if fault is None or not isinstance(error, GanError):
        _log.error("unexpected %s", type(error).__name__, exc_info=error)
        message = "Something went wrong on the server; it is logged under this answer's X-Request-ID."
        return _answer(INTERNAL, message, None)
    return _answer(fault, error.message, error.where, _headers(error))


def error_response(error: Exception) -> Response:
    """The same, for what stands before the endpoints."""
    return response(error_answer(error))


def response(answer: Answer) -> Response:
    """An answer over HTTP; of a file that stays, also in parts (RFC 9110, 14.2)."""
    about: Any = answer.status, answer.headers, answer.media_type
    match answer.content:
        case bytes(content):
            return Response(content, *about)
        case io.BytesIO() as file:
            return Response(file.getvalue(), *about)
        case Path() as path:
            return _File(path, *about)
        case pieces:
            return StreamingResponse(pieces, *about)


def head_of(response: Response) -> Response:
    """The head alone; what would have come as a stream is not begun, and its length not known."""
    if not isinstance(response, StreamingResponse):
        return response  # the server leaves its body out
    head = Response(status_code=response.status_code, headers=response.headers)
    if "content-length" not in response.headers:
        del head.headers["content-length"]
    return head


class _File(FileResponse):
    """Starlette's, with errors in our shape."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = False

        async def send_unless_refused(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                refused = True
                size = Headers(raw=message["headers"]).get("content-range", "").rpartition("/")[2]
                error = RangeError(
                    "Range asks for no bytes of this result, such as bytes=1000-1999.", size=size or None
                )
                await error_response(error)(scope, receive, send)
            elif not refused:
                await send(message)

        try:
            await super().__call__(scope, receive, send_unless_refused)
        except (RuntimeError, FileNotFoundError):  # it was looked for before; nothing has been sent
            error = NotFoundError("The job and its result were removed a moment ago.", where="id")
            await error_response(error)(scope, receive, send)


def _of_starlette(error: HTTPException) -> Answer:
    known = (fault for fault in (*FAULTS.values(), *SERVER_FAULTS) if fault.status == error.status_code)
    fault = next(known, Fault(error.status_code, "http_error", ""))
    return _answer(fault, error.detail, None, error.headers)


def _headers(error: GanError) -> dict[str, str]:
    if isinstance(error, OverloadError):
        return {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}
    if isinstance(error, WeightsUnavailable):
        return {"Retry-After": str(_WEIGHTS_RETRY_S)}
    if isinstance(error, CodingError):
        return {"Accept-Encoding": "identity"}
    if isinstance(error, RangeError) and error.size is not None:
        return {"Content-Range": f"bytes */{error.size}"}
    if isinstance(error, UnauthorizedError):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, MethodError):
        return {"Allow": ", ".join(error.allowed)}
    return {}


def _answer(fault: Fault, message: str, where: str | None, headers: Mapping[str, str] | None = None) -> Answer:
    body = ErrorBody(error=ErrorDetail(code=fault.code, message=readable(message), where=where and readable(where)))
    return Answer.of(body, headers=headers, status=fault.status)


def readable(text: str) -> str:
    """Text that a client sent may hold halves of characters (`\\ud800`), which UTF-8 cannot."""
    return text.encode(errors="replace").decode()


# A field's name, and not pydantic's name for one side of a union ("list[constrained-int]", "int").
_FIELD = re.compile(r"(?!(?:int|str|float|bool|none)$)[a-z][a-zA-Z0-9_]*")


def describe(error: ValidationError) -> tuple[str, str]:
    """The first thing wrong, as a sentence, and the field it is about (`latents.0.3`)."""
    first = error.errors(include_url=False, include_input=False)[0]
    parts = [str(part) for part in first["loc"] if isinstance(part, int) or _FIELD.fullmatch(part)]
    where = ".".join(parts) or "body"
    more = f" ({error.error_count() - 1} more.)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg']}.{more}", where

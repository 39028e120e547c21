"""From exceptions to HTTP answers: the one place where a status code is chosen.

Every body is `{"error": {"code", "message", "where"}}`; `Retry-After` goes with 429 and 503.
"""

import logging
import math
import re
from collections.abc import Mapping

from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

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
from service.errors import (
    CodingError,
    DeadlineError,
    MediaTypeError,
    NotAcceptableError,
    RateLimitError,
    SlowUploadError,
    UnauthorizedError,
)


class ErrorDetail(BaseModel):
    """What was wrong, where, and what would be right."""

    code: str = Field(description="For programs; stays the same.")
    message: str = Field(description="For people.")
    where: str | None = Field(description="The field, file or header at fault.")


class ErrorBody(BaseModel):
    """The one shape of every error."""

    error: ErrorDetail


_log = logging.getLogger("gan")

# The first class that fits wins, so subclasses stand before their parents.
STATUS: Mapping[type[GanError], tuple[int, str]] = {
    UnauthorizedError: (401, "unauthorized"),
    MediaTypeError: (415, "unsupported_media_type"),
    SlowUploadError: (408, "request_timeout"),
    NotAcceptableError: (406, "not_acceptable"),
    DeadlineError: (504, "deadline_exceeded"),
    RateLimitError: (429, "rate_limited"),
    BrokenImageError: (422, "broken_image"),
    ImageError: (415, "unsupported_image"),
    LimitError: (413, "too_large"),
    InputError: (400, "invalid_input"),
    NotFoundError: (404, "not_found"),
    ConflictError: (409, "conflict"),
    WeightsUnavailable: (503, "weights_unavailable"),
    OverloadError: (503, "overloaded"),
    CheckpointError: (500, "broken_checkpoint"),
}

_WEIGHTS_RETRY_S = 3600  # the operator has to act


def error_response(error: Exception) -> Response:
    """The answer to any exception; what is not a GanError is logged and answered 500 without its text."""
    if isinstance(error, ValidationError):
        return _body(400, "invalid_input", *describe(error))
    if isinstance(error, ClientDisconnect):  # nobody is there to read it
        return _body(400, "client_left", "The client left before the answer.", None)
    if isinstance(error, HTTPException):  # Starlette's own: routing, and its multipart parser
        return _body(error.status_code, _CODES.get(error.status_code, "http_error"), error.detail, None)
    for kind, (status, code) in STATUS.items():
        if isinstance(error, kind):
            return _body(status, code, error.message, error.where, _headers(error))
    _log.error("unexpected %s", type(error).__name__, exc_info=error)
    message = "Something went wrong on the server; it is logged under this answer's X-Request-ID."
    return _body(500, "internal", message, None)


_CODES = {
    400: "invalid_input",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    431: "headers_too_large",
    501: "not_implemented",
}


def _headers(error: GanError) -> dict[str, str]:
    if isinstance(error, OverloadError):
        return {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}
    if isinstance(error, WeightsUnavailable):
        return {"Retry-After": str(_WEIGHTS_RETRY_S)}
    if isinstance(error, CodingError):
        return {"Accept-Encoding": "identity"}
    if isinstance(error, UnauthorizedError):
        return {"WWW-Authenticate": "Bearer"}
    return {}


def _body(
    status: int, code: str, message: str, where: str | None, headers: Mapping[str, str] | None = None
) -> Response:
    return JSONResponse({"error": {"code": code, "message": message, "where": where}}, status, headers)


# A field's name, and not pydantic's name for one side of a union ("list[constrained-int]", "int").
_FIELD = re.compile(r"(?!(?:int|str|float|bool|none)$)[a-z][a-zA-Z0-9_]*")


def describe(error: ValidationError) -> tuple[str, str]:
    """The first thing wrong, as a sentence, and the field it is about (`latents.0.3`)."""
    first = error.errors(include_url=False, include_input=False)[0]
    parts = [str(part) for part in first["loc"] if isinstance(part, int) or _FIELD.fullmatch(part)]
    where = ".".join(parts) or "body"
    more = f" ({error.error_count() - 1} more.)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg']}.{more}", where

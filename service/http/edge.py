"""The edge: what happens to every request before an endpoint sees it, and to every answer after.

One ASGI middleware, in this order: request id, span and log line; key; rate; how many at once; body limit. It stands
inside BentoML's own middlewares, and around the plain Starlette application alike.
"""

import logging
import random
import re
import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import GanError, OverloadError
from service.errors import MediaTypeError
from service.http.answers import error_response
from service.http.auth import authenticate
from service.http.drain import Drain
from service.http.limits import limited
from service.logs import request_id
from service.telemetry import current_span

if TYPE_CHECKING:
    from service.runtime import Core

_log = logging.getLogger("gan.access")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_QUIET = ("/livez", "/healthz", "/readyz", "/metrics")
_PICKLE = "application/vnd.bentoml+pickle"


class Edge:
    """See the head of this file. `core` brings the settings and counters."""

    def __init__(self, app: ASGIApp, core: "Core") -> None:
        self._app = app
        self._core = core
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _QUIET:
            await self._app(scope, receive, send)
            return
        if scope["path"] == "/docs.json":  # BentoML's own description would be a second, wrong one
            scope = {**scope, "path": "/openapi.json", "raw_path": b"/openapi.json"}
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        ident = given if _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
        token = request_id.set(ident)
        span = self._core.telemetry.start_request(f"{scope['method']} {scope['path']}", headers)
        span_token = current_span.set(span)
        started = time.perf_counter()
        drain = Drain(headers, receive, send, time.monotonic() + self._core.settings.deadline_s)
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = ident
            await drain.send(message)

        try:
            receive = self._admit(scope, headers, drain.receive)
        except GanError as error:
            await error_response(error)(scope, drain.receive, send_with_id)
        else:
            self._inside += 1
            self._core.telemetry.in_progress.set(self._inside)
            try:
                await self._app(scope, receive, send_with_id)
            finally:
                self._inside -= 1
                self._core.telemetry.in_progress.set(self._inside)
        finally:
            seconds = time.perf_counter() - started
            self._record(scope, status, seconds)
            if span is not None:
                span.set_attribute("http.response.status_code", status)
                span.end()
            current_span.reset(span_token)
            request_id.reset(token)

    def _admit(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        """`receive` under the body limit, or a GanError for who may not pass; notes the caller's name in the scope."""
        core, settings = self._core, self._core.settings
        client = scope.get("client")
        scope["gan.caller"] = client[0] if client else "-"
        if scope["path"].startswith("/v1/"):
            scope["gan.caller"] = authenticate(core.keys, headers) or scope["gan.caller"]
            core.rate.take(scope["gan.caller"])
            if self._inside >= settings.max_requests:
                raise OverloadError(f"{self._inside} requests are being answered already.", retry_after_s=1)
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media == _PICKLE:
            raise MediaTypeError("Pickles are not read: they can run code.", where="content-type")
        most = settings.body_mb if media == "multipart/form-data" else settings.json_mb
        return limited(receive, headers.get("content-length"), most * 2**20)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        endpoint = scope.get("gan.endpoint", "other")
        telemetry = self._core.telemetry
        telemetry.requests.labels(endpoint, str(status)).inc()
        telemetry.request_seconds.labels(endpoint).observe(seconds)
        fields = {
            "method": scope["method"],
            "path": scope["path"],
            "endpoint": endpoint,
            "status": status,
            "ms": round(seconds * 1000, 2),
            "caller": scope.get("gan.caller", "-"),
        }
        _log.info("request", extra={"fields": fields})

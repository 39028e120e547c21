"""The edge: what happens to every request before an endpoint sees it, and to every answer after.

One ASGI middleware, in this order: request id, span and log line; key; rate; body limit and a place. It stands inside
BentoML's own middlewares, and around the plain Starlette application alike. What comes before there is a request is in
protocol.py.
"""

import logging
import random
import re
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import GanError, NotFoundError
from service.errors import CodingError, MediaTypeError
from service.http.answers import error_response
from service.http.auth import authenticate, load_keys
from service.http.callers import Callers
from service.http.drain import Drain
from service.http.limits import Room, Stay, Unsent
from service.logs import request_id
from service.runtime import Runtime
from service.telemetry import current_span

_log = logging.getLogger("gan.access")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_QUIET = ("/livez", "/healthz", "/readyz", "/metrics")
_PICKLE = "application/vnd.bentoml+pickle"
_LOGGED = 256  # characters of a path: a client may send 30 kB of one


class Edge:
    """See the head of this file. `runtime` brings the settings and counters."""

    def __init__(self, app: ASGIApp, runtime: Runtime) -> None:
        self._app = app
        self._runtime = runtime
        self._keys = load_keys(runtime.settings)
        self._callers = Callers(runtime.settings)
        self._room = Room(runtime.settings, runtime.telemetry.in_progress.set)
        self._unsent = Unsent(runtime.settings.unsent_mb * 2**20)

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
        span = self._runtime.telemetry.start_request(f"{scope['method']} {scope['path']}", headers)
        span_token = current_span.set(span)
        started = time.perf_counter()
        drain = Drain(headers, receive, send, time.monotonic() + self._runtime.settings.deadline_s)
        stay: Stay | None = None
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = ident
                if stay is not None:
                    stay.end()  # however slowly the client takes its answer, the place is another's
            await self._unsent.send(scope, message, drain.send)

        try:
            stay = await self._admit(scope, headers, drain.receive)
        except GanError as error:
            await error_response(error)(scope, drain.receive, send_with_id)
        else:
            try:
                await self._app(scope, stay.receive, send_with_id)
            finally:
                stay.end()
        finally:
            seconds = time.perf_counter() - started
            self._record(scope, status, seconds)
            if span is not None:
                span.set_attribute("http.response.status_code", status)
                span.end()
            current_span.reset(span_token)
            request_id.reset(token)

    async def _admit(self, scope: Scope, headers: Headers, receive: Receive) -> Stay:
        """The request's stay, or a GanError for who may not pass; notes the caller in the scope."""
        settings = self._runtime.settings
        if not scope["path"].startswith("/"):  # OPTIONS *, which BentoML would answer in a shape of its own
            raise NotFoundError("There is nothing here; /docs.json lists the endpoints.")
        scope["gan.caller"] = self._callers.of(scope.get("client"), headers)
        if scope["path"].startswith("/v1/"):
            if (key := authenticate(self._keys, headers)) is not None:
                scope["gan.caller"], scope["gan.principal"] = key.name, key.principal
            if self._runtime.rates.limited:
                await self._runtime.rates.take(scope["gan.caller"])
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media == _PICKLE:
            raise MediaTypeError("Pickles are not read: they can run code.", where="content-type")
        coding = headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("", "identity"):
            raise CodingError(f"Send the body as it is, not in Content-Encoding: {coding}.", where="content-encoding")
        most = settings.body_mb if media == "multipart/form-data" else settings.json_mb
        without_body = scope["method"] in ("GET", "HEAD", "DELETE")
        return Stay(self._room, scope["gan.caller"], receive, _length(headers), most * 2**20, without_body)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        endpoint = scope.get("gan.endpoint", "other")
        telemetry = self._runtime.telemetry
        telemetry.requests.labels(endpoint, str(status)).inc()
        telemetry.request_seconds.labels(endpoint).observe(seconds)
        fields = {
            "method": scope["method"],
            "path": scope["path"][:_LOGGED],
            "endpoint": endpoint,
            "status": status,
            "ms": round(seconds * 1000, 2),
            "caller": scope.get("gan.caller", "-"),
        }
        _log.info("request", extra={"fields": fields})


def _length(headers: Headers) -> int | None:
    """Of the body, in bytes; None where only its end will tell."""
    if "transfer-encoding" in headers:
        return None
    length = headers.get("content-length", "0")
    return int(length) if length.isdigit() else None

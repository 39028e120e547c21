"""Pages of other origins that may read our answers (Fetch, 3.2): none, unless GAN_CORS_ORIGINS names them.

It stands around everything else, so that refusals carry the headers too: a page could not read why otherwise. A
preflight is answered here, and asks for no key, as browsers send none with it. Cookies play no part: keys come in a
header, which a page has to have.
"""

from collections.abc import Iterable

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from service.http.operation import Operation
from service.settings import Settings

_METHODS = ("GET", "HEAD", "POST", "DELETE")
_SENT = ("Authorization", "X-API-Key", "X-Request-ID", "traceparent", "tracestate", "Cache-Control")
_READ = ("X-Request-ID", "Retry-After", "WWW-Authenticate", "Allow", "Accept-Encoding", "Content-Disposition")
_MAX_AGE_S = 7200  # as long as Chromium keeps a preflight


def with_cors(app: ASGIApp, settings: Settings, operations: Iterable[Operation]) -> ASGIApp:
    """`app`, readable by pages of the origins that the settings name, with the headers of these operations."""
    if not settings.cors_origins:
        return app
    operations = list(operations)
    sent = {name for operation in operations for name in operation.request_headers}
    read = {name for operation in operations for name in operation.headers}
    return CORSMiddleware(
        app,
        allow_origins=settings.cors_origins,
        allow_methods=_METHODS,
        allow_headers=sorted({*_SENT, *sent}),
        expose_headers=sorted({*_READ, *read}),
        max_age=_MAX_AGE_S,
    )

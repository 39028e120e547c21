"""The web page at `/` and its files under `/static`: a Starlette app that the service mounts last, at the root.

Nothing is built, nothing comes from another host: a Content-Security-Policy holds the browser to that. Whatever no
endpoint answers ends up here too, so this is where an unknown address gets its 404 in the service's one error shape.
"""

from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import error_response

STATIC = Path(__file__).with_name("static")

_HEADERS = {
    # blob: and data: are the pictures that the page itself makes of what the service answered.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Asked again each time, answered 304 where nothing changed: a new version of the service is a new page at once.
    "Cache-Control": "no-cache",
}


def page_app() -> Starlette:
    """The ASGI app to mount at `/`, after every endpoint."""
    app = Starlette(
        routes=[
            Route("/", _index, methods=["GET"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={HTTPException: _http_error},
    )
    app.add_middleware(_with_headers)
    return app


async def _index(_: Request) -> Response:
    return FileResponse(STATIC / "index.html", media_type="text/html; charset=utf-8")


async def _http_error(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 404:
        text = f"There is nothing at {request.method} {request.url.path[:200]}; GET /docs.json lists what there is."
        return error_response(HTTPException(404, text))
    return error_response(error)


def _with_headers(app: ASGIApp) -> ASGIApp:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await app(scope, receive, send_with_headers if scope["type"] == "http" else send)

    return wrapped

"""The web page at `/` and its files under `/static`, as routes for the application that the service mounts.

Nothing is built and nothing comes from another host: a Content-Security-Policy holds the browser to that.
"""

from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.answers import error_response

STATIC = Path(__file__).parents[1] / "static"

_HEADERS = {
    # blob: and data: are the pictures that the page itself makes of what the service answered.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Asked again each time, answered 304 where nothing changed: a new version of the service is a new page at once.
    "Cache-Control": "no-cache",
}


def page_routes() -> list[BaseRoute]:
    """`/` and `/static/...`; they ask for no API key, because the page has no secrets and asks for the key itself."""
    return [
        Route("/", _index, methods=["GET"], name="page"),
        Mount("/static", _guarded(StaticFiles(directory=STATIC)), name="static"),
    ]


async def _index(_: Request) -> Response:
    return FileResponse(STATIC / "index.html", media_type="text/html; charset=utf-8", headers=_HEADERS)


def _guarded(app: ASGIApp) -> ASGIApp:
    """The headers above on every answer, and errors in the service's one shape."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        try:
            await app(scope, receive, send_with_headers)
        except HTTPException as error:
            if error.status_code == 404:
                error = HTTPException(404, f"The page has no file {scope['path'][:200]}.")
            await error_response(error)(scope, receive, send_with_headers)

    return guarded

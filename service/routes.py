"""The table of operations as a Starlette application; also the web page, the document, and errors of no endpoint.

    application()  what BentoML mounts at /
    standalone()   the same with the edge around it, served without BentoML: for tests and benchmarks

To add an endpoint: write its `Operation` and list it in endpoints/table.py. Nothing else changes.
"""

import contextlib
import functools
import json
from collections.abc import AsyncIterator, Callable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from models.errors import NotFoundError
from service.endpoints.jobs import runner
from service.endpoints.table import JOBS, OPERATIONS
from service.errors import MethodError
from service.http.answers import error_response, head_of
from service.http.cors import with_cors
from service.http.edge import Edge
from service.http.openapi import document
from service.http.operation import Operation, run
from service.http.page import page_routes
from service.runtime import Runtime


def application(runtime: Callable[[], Runtime]) -> Starlette:
    """Every endpoint. `runtime` is asked for at the first request, so that an application can be had without one."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in OPERATIONS:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    routes = [Route(path, _Resource(methods, runtime)) for path, methods in by_path.items()]
    described = Route("/openapi.json", _document, methods=["GET"])
    handlers = {HTTPException: _unrouted, Exception: _unrouted}
    rest = Route("/{path:path}", _NothingHere())  # or BentoML, which asks each route, would answer in its own shape
    app = Starlette(
        routes=[*routes, described, metrics_route(runtime), *page_routes(), rest], exception_handlers=handlers
    )
    app.router.redirect_slashes = False
    return app


def around(app: ASGIApp, runtime: Runtime) -> ASGIApp:
    """What every request goes through before it reaches an application."""
    return with_cors(Edge(app, runtime), runtime.settings, OPERATIONS)


async def start(runtime: Runtime) -> None:
    """Starts it, and tells its jobs what they run."""
    for operation, job in JOBS:
        runtime.jobs.register(operation.name, runner(runtime, job, operation.handler))
    await runtime.start()


def standalone(runtime: Runtime) -> Starlette:
    """Every endpoint, served without BentoML."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await start(runtime)
        yield
        await runtime.stop()

    app = application(lambda: runtime)
    app.router.lifespan_context = lifespan
    app.add_middleware(around, runtime=runtime)
    return app


class _Resource:
    """One path, and the operation of each method that it takes; GET answers HEAD, too."""

    def __init__(self, operations: Mapping[str, Operation], runtime: Callable[[], Runtime]) -> None:
        self._operations = operations
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        operation = self._operations.get("GET" if request.method == "HEAD" else request.method)
        if operation is None:
            allowed = sorted(self._operations)
            error = MethodError(f"{request.url.path} takes {' or '.join(allowed)}.", allowed=allowed)
            response = error_response(error)
        else:
            response = await run(operation, self._runtime(), request)
            if request.method == "HEAD":
                response = head_of(response)
        await response(scope, receive, send)


class _NothingHere:
    """What no other route answers, whatever the method."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = NotFoundError("There is nothing here; /docs.json lists the endpoints.")
        await error_response(error)(scope, receive, send)


async def _unrouted(_: Request, error: Exception) -> Response:
    """What Starlette itself refuses, in our shape."""
    return error_response(error)


@functools.cache
def _document_bytes() -> bytes:
    return json.dumps(document(OPERATIONS)).encode()


async def _document(_: Request) -> Response:
    return Response(_document_bytes(), media_type="application/json")


def metrics_route(runtime: Callable[[], Runtime]) -> Route:
    """/metrics, for Prometheus."""

    async def metrics(_: Request) -> Response:
        return Response(runtime().telemetry.text(), media_type=CONTENT_TYPE_LATEST)

    return Route("/metrics", metrics, methods=["GET"])


if __name__ == "__main__":  # python -m service.routes > openapi.json
    print(json.dumps(document(OPERATIONS), indent=2))

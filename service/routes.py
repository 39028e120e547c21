"""All endpoints, and the plain Starlette application of those that are not BentoML apis.

    OPERATIONS   the whole table, in the order of the documentation
    mounted()    what BentoML mounts at /: everything but POST without a path parameter, and the fallback
    standalone() every endpoint, without BentoML: for tests and benchmarks

To add an endpoint: write its `Operation`, list it here, and, where it is a POST without a path parameter, add its
two lines to app.py (a test compares the two).
"""

import contextlib
import functools
import json
from collections.abc import AsyncIterator, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from service.endpoints.jobs import runner
from service.endpoints.table import JOBS, OPERATIONS
from service.http.answers import error_response
from service.http.edge import Edge
from service.http.openapi import document
from service.http.operation import Operation, run
from service.http.page import page_routes
from service.runtime import Core
from service.telemetry import Telemetry


def is_bento_api(operation: Operation) -> bool:
    """BentoML's apis are POST, and their paths have no parameters."""
    return operation.method == "POST" and "{" not in operation.path


def mounted(core: Core) -> Starlette:
    """The application that BentoML mounts at /."""
    return Starlette(routes=_routes(core, [one for one in OPERATIONS if not is_bento_api(one)]))


def standalone(core: Core) -> Starlette:
    """Every endpoint, served without BentoML."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await core.start()
        yield
        await core.stop()

    edge = Middleware(Edge, core=core)
    return Starlette(routes=_routes(core, OPERATIONS), lifespan=lifespan, middleware=[edge])


def _routes(core: Core, operations: Sequence[Operation]) -> list[BaseRoute]:
    for operation, job in JOBS:
        core.jobs.register(operation.name, runner(core, job, operation.handler))
    routes: list[BaseRoute] = [
        Route(one.path, functools.partial(_endpoint, one, core), methods=[one.method], name=one.name)
        for one in operations
    ]
    routes.append(Route("/openapi.json", _document, methods=["GET"]))
    routes.append(Route("/metrics", functools.partial(_metrics, core.telemetry), methods=["GET"]))
    return [*routes, *page_routes(), Route("/{path:path}", _Fallback(routes))]


async def _endpoint(operation: Operation, core: Core, request: Request) -> Response:
    return await run(operation, core, request)


async def _metrics(telemetry: Telemetry, _: Request) -> Response:
    return Response(generate_latest(telemetry.registry), media_type=CONTENT_TYPE_LATEST)


@functools.cache
def _document_bytes() -> bytes:
    return json.dumps(document(OPERATIONS)).encode()


async def _document(_: Request) -> Response:
    return Response(_document_bytes(), media_type="application/json")


class _Fallback:
    """Answers what no route answers, in our shape: 405 where another method would do, else 404."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        allowed = sorted({one.method for one in OPERATIONS if _matches(one.path, scope["path"])})
        if allowed:
            error = HTTPException(405, f"{scope['path']} takes {' or '.join(allowed)}.")
            response = error_response(error)
            response.headers["Allow"] = ", ".join(allowed)
        else:
            response = error_response(HTTPException(404, "There is nothing here; /docs.json lists the endpoints."))
        await response(scope, receive, send)


def _matches(template: str, path: str) -> bool:
    parts, given = template.split("/"), path.split("/")
    return len(parts) == len(given) and all(
        ours == theirs or (ours.startswith("{") and theirs != "") for ours, theirs in zip(parts, given, strict=True)
    )

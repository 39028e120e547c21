"""The BentoML service: `bentoml serve service.app:GanService`.

BentoML brings the process, health and metrics; the endpoints are routes of the application that it mounts at /
(routes.py). They are no BentoML apis, because those read requests and shape errors in ways of their own (bad uploads
are 500s, bodies have no bound); so BentoML's own client, which speaks to apis only, does not work with this service.

Importing this module reads no environment and starts nothing: `bentoml build` imports it, too.
"""

import asyncio
import functools
import sys

import bentoml
from starlette.types import ASGIApp

from service import parent
from service.http.auth import load_keys
from service.http.protocol import serve_by
from service.logs import set_up_logging
from service.routes import application, around, start
from service.runtime import Runtime, check_places
from service.settings import LONGEST_DEADLINE_S, Settings


@functools.cache
def runtime() -> Runtime:
    """Made when the service starts, from the environment."""
    return Runtime(Settings.from_environment())


serve_by(lambda: runtime().settings)


@bentoml.service(
    name="gan-service",
    workers=1,
    traffic={"timeout": LONGEST_DEADLINE_S + 5},  # ours comes first; this one answers in BentoML's own shape
    logging={"access": {"enabled": False}},  # ours is JSON, with request ids
    metrics={"enabled": False},  # ours do not have every path that was ever asked for as a label
    tracing={"excluded_urls": ".*"},  # ours reach into the batches; BentoML's cost as much as the endpoint itself
)
@bentoml.asgi_app(application(runtime), path="/")
class GanService:
    """Samples, interpolations, translations and scores of generative adversarial networks."""

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Wrong settings end `bentoml serve` here, with their sentence, and not worker after worker."""
        try:
            settings = Settings.from_environment()
            load_keys(settings)
            asyncio.run(check_places(settings))
        except ValueError as error:
            sys.exit(f"error: {error}")

    @bentoml.on_startup
    async def start(self) -> None:
        self._watch = asyncio.create_task(parent.stop_when_it_is_gone())
        await start(runtime())
        # Those of others, too: else they write to standard output themselves and wait for it.
        self._logs = set_up_logging(runtime().settings.log_json, ("", "bentoml", "uvicorn.error"))

    @bentoml.on_shutdown
    async def stop(self) -> None:
        self._watch.cancel()
        await runtime().stop()
        await asyncio.to_thread(self._logs.close)

    async def __is_ready__(self) -> bool:
        return runtime().ready


def edge(app: ASGIApp) -> ASGIApp:
    """Stands around BentoML's application; it is made when the service starts."""
    return around(app, runtime())


GanService.add_asgi_middleware(edge)  # type: ignore[attr-defined]

"""A process that only works: `python -m service.worker`.

It takes jobs from where GAN_JOBS says that they wait, and answers nothing but how it is: /healthz, /livez, /readyz and
/metrics. Same image, same settings; GAN_JOB_WORKER=false, which may be set for all, is the other replicas'. On SIGTERM
it hands its jobs back, and whoever works next begins them again.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from models import commandline
from service.http.protocol import http_protocol
from service.logs import set_up_logging
from service.routes import metrics_route, start
from service.runtime import Runtime, check_places
from service.settings import Settings

_EITHER = "GAN_JOB_WORKER"  # for the others; here it is known


def application(runtime: Runtime) -> Starlette:
    """How it is."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await start(runtime)
        logs = set_up_logging(runtime.settings.log_json, ("", "uvicorn.error"))
        yield
        await runtime.stop()
        await asyncio.to_thread(logs.close)

    async def alive(_: Request) -> Response:
        return PlainTextResponse("")

    async def ready(_: Request) -> Response:
        return PlainTextResponse("", 200 if runtime.ready else 503)

    routes = [Route("/livez", alive), Route("/healthz", alive), Route("/readyz", ready), metrics_route(lambda: runtime)]
    return Starlette(routes=routes, lifespan=lifespan)


def settings_of_a_worker() -> Settings:
    """From the environment. Raises ValueError, with a sentence."""
    settings = Settings.from_environment({name: value for name, value in os.environ.items() if name != _EITHER})
    if settings.jobs is None:
        raise ValueError("A worker takes jobs from where others put them: GAN_JOBS says where they wait.")
    return settings


def main(words: Sequence[str] | None = None) -> None:
    parser = commandline.Parser("python -m service.worker", description="Runs jobs, and answers how it is.")
    parser.add_argument("--host", default="127.0.0.1", help="address of /readyz and /metrics (%(default)s)")
    parser.add_argument("--port", type=commandline.within(0, 65_535), default=3001, help="their port (%(default)s)")
    typed = parser.parse_args(words)
    try:
        settings = settings_of_a_worker()
        asyncio.run(check_places(settings))
        app = application(Runtime(settings))
    except ValueError as error:
        sys.exit(f"error: {error}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # which uvicorn raises once more when it is done
    protocol: Any = http_protocol(settings)
    uvicorn.run(app, host=typed.host, port=typed.port, http=protocol, access_log=False, log_config=None)


if __name__ == "__main__":
    main()

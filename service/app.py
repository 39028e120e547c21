"""The BentoML service: `bentoml serve service.app:GanService`.

Endpoints are thin: `operations.run` reads, calls and answers. POSTs are BentoML apis, the rest is mounted at /.
"""

import asyncio

import bentoml
from starlette.responses import Response

from service import parent
from service.endpoints.inspect import INSPECT
from service.endpoints.interpolate import INTERPOLATE
from service.endpoints.openai import GENERATIONS
from service.endpoints.references import CREATE_REFERENCE
from service.endpoints.sample import SAMPLE
from service.endpoints.score import SCORE
from service.endpoints.table import INTERPOLATE_JOB, REFERENCE_JOB, SAMPLE_JOB, SCORE_JOB, TRANSLATE_JOB
from service.endpoints.translate import TRANSLATE
from service.http.bento import Incoming, api
from service.http.edge import Edge
from service.http.protocol import serve_by
from service.routes import mounted
from service.runtime import Core
from service.settings import Settings

CORE = Core(Settings.from_environment())
serve_by(CORE.settings)


@bentoml.service(
    name="gan-service",
    workers=1,
    traffic={"timeout": CORE.settings.deadline_s + 5},  # ours comes first; this one answers in BentoML's own shape
    logging={"access": {"enabled": False}},  # ours is JSON, with request ids
    metrics={"enabled": False},  # ours do not have every path that was ever asked for as a label
    tracing={"excluded_urls": ".*"},  # ours reach into the batches; BentoML's cost as much as the endpoint itself
)
@bentoml.asgi_app(mounted(CORE), path="/")
class GanService:
    """Samples, interpolations, translations and scores of generative adversarial networks."""

    @bentoml.on_startup
    async def start(self) -> None:
        self._watch = asyncio.create_task(parent.stop_when_it_is_gone())
        await CORE.start(("", "bentoml", "uvicorn.error"))  # else they write to standard output and wait for it

    @bentoml.on_shutdown
    async def stop(self) -> None:
        self._watch.cancel()
        await CORE.stop()

    async def __is_ready__(self) -> bool:
        return CORE.ready

    @api(SAMPLE)
    async def sample(self, call: Incoming, /) -> Response:
        return await call.answer(CORE)

    @api(INTERPOLATE)
    async def interpolate(self, call: Incoming, /) -> Response:
        return await call.answer(CORE)

    @api(TRANSLATE)
    async def translate(self, call: Incoming, /) -> Response:
        return await call.answer(CORE)

    @api(GENERATIONS)
    async def generations(self, call: Incoming, /) -> Response:
        return await call.answer(CORE)

    @api(INSPECT)
    async def inspect(self, call: Incoming, /) -> Response:
        return await call.answer(CORE)

    @api(SCORE)
    async def score(self, call: Incoming, /) -> Response:
        return await call.answer(CORE)

    @api(CREATE_REFERENCE)
    async def reference(self, call: Incoming, /) -> Response:
        return await call.answer(CORE)

    @api(SAMPLE_JOB)
    async def submit_sample(self, call: Incoming, /) -> Response:
        return await call.answer(CORE)

    @api(INTERPOLATE_JOB)
    async def submit_interpolate(self, call: Incoming, /) -> Response:
        return await call.answer(CORE)

    @api(TRANSLATE_JOB)
    async def submit_translate(self, call: Incoming, /) -> Response:
        return await call.answer(CORE)

    @api(SCORE_JOB)
    async def submit_score(self, call: Incoming, /) -> Response:
        return await call.answer(CORE)

    @api(REFERENCE_JOB)
    async def submit_reference(self, call: Incoming, /) -> Response:
        return await call.answer(CORE)


GanService.add_asgi_middleware(Edge, core=CORE)  # type: ignore[attr-defined]

"""POST /v1/images/generations, in OpenAI's shape, so that its clients work with this service."""

from pydantic import Field

import models
from service.call import Answer, Call
from service.endpoints.fields import Seed
from service.endpoints.openai import (
    EVENTS,
    STREAM,
    Finished,
    ImagesAnswer,
    PromptedRequest,
    answer,
    finished,
    form_of,
    named,
)
from service.endpoints.provenance import origin_of
from service.engine.classes import ClassLabel, class_weights, default_classes
from service.engine.sampler import Latents
from service.http.operation import Operation
from service.runtime import Runtime


class GenerationRequest(PromptedRequest):
    """OpenAI's image request. Of a model with classes the prompt names one, by its words; else it means nothing."""

    seed: Seed | None = Field(None, description="Image i has seed + i. Without it, one is drawn and told.")


async def generate(runtime: Runtime, call: Call) -> Answer:
    """A sample, asked for and answered in other words."""
    request: GenerationRequest = call.body
    served = runtime.registry.sampler(request.model)
    network = served.unit.network
    count = request.n or 1
    form = form_of(request, count, network.image_size)
    seeds = models.sample_seeds(call.seed if request.seed is None else request.seed, count)
    rows = await runtime.beside_the_loop(call, _rows, network, request.prompt, seeds)
    pixels = await served.unit.images(rows)
    runtime.served("generations", served.source.name, pixels, drift=served.source.name)

    def drawn(index: int) -> Finished:
        origin = origin_of(served, "trainedAlgorithmicMedia", {"seed": str(seeds[index])})
        return finished(runtime, form, pixels[index], origin, seeds[index])

    images = await runtime.each(call, drawn, range(count))
    return await answer(runtime, call, "image_generation", served.id, images)


def _rows(network: models.Generator, prompt: str, seeds: list[int]) -> Latents:
    labels = _classes(network, prompt, seeds)
    return Latents(models.draw(seeds, network.latent_size), class_weights(network, labels, len(seeds)))


def _classes(network: models.Generator, prompt: str, seeds: list[int]) -> list[ClassLabel] | None:
    """The class that the prompt names, the longest of several; where it names none, each seed's own."""
    found = named(prompt, network.classes)
    return [max(found, key=len)] * len(seeds) if found else default_classes(network, seeds)


GENERATIONS = Operation(
    "POST",
    "/v1/images/generations",
    "generations",
    "Draw images, in OpenAI's shape",
    generate,
    "generate",
    body=GenerationRequest,
    answers={"application/json": ImagesAnswer, EVENTS: STREAM},
    errors=(404, 413),
    examples={"two": {"prompt": "", "n": 2, "size": "auto", "response_format": "b64_json", "seed": 7}},
)

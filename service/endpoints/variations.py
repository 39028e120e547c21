"""POST /v1/images/variations, in OpenAI's shape: pictures near one that is given.

A variation lies between the picture's code and the code of a seed, F(z), nearer to the picture: the truncation trick of
StyleGAN (Karras, Laine, Aila 2019, appendix B) about this code instead of the mean. So variations differ as samples do,
in the directions and by the amounts in which the model's own codes differ.
"""

from pydantic import Field

import models
from models.errors import InputError
from service.call import Answer, Call
from service.encoding import pictures
from service.endpoints.fields import Seed
from service.endpoints.openai import Finished, ImageRequest, ImagesAnswer, answer, finished, form_of
from service.endpoints.points import of_seeds
from service.endpoints.provenance import origin_of
from service.endpoints.squares import codes, looked_at
from service.engine.sampler import Latents
from service.http.body import FileField
from service.http.operation import Operation
from service.runtime import Runtime

_AWAY = 0.3  # of the way from the picture to the seed's sample


class VariationRequest(ImageRequest):
    """OpenAI's request for variations."""

    seed: Seed | None = Field(None, description="Variation i has seed + i. Without it, one is drawn and told.")


async def vary(runtime: Runtime, call: Call) -> Answer:
    """Images at points near the picture's. Raises InputError for a model without an encoder."""
    request: VariationRequest = call.body
    served = runtime.registry.encoder(request.model)
    if not served.unit.encodes:
        raise InputError(
            f"{served.id} makes no variations of a picture: POST /v1/interpolate goes between seeds and latents.",
            where="model",
        )
    count = request.n or 1
    form = form_of(request, count, served.unit.network.image_size)
    seeds = models.sample_seeds(call.seed if request.seed is None else request.seed, count)
    code = await codes(runtime, call, served, await looked_at(runtime, call, call.files["image"]))
    rows = Latents(models.lerp(code, await of_seeds(runtime, call, served, seeds, "w"), _AWAY), None, "w")
    pixels = await served.unit.images(rows)
    runtime.served("variations", served.source.name, pixels)

    def varied(index: int) -> Finished:
        text = {"latent": pictures.base64_of(rows.latents[index].numpy().tobytes()), "space": rows.space}
        origin = origin_of(served, "compositeWithTrainedAlgorithmicMedia", text)
        return finished(runtime, form, pixels[index], origin, seeds[index])

    images = await runtime.each(call, varied, range(count))
    return await answer(runtime, call, "image_generation", served.id, images)


VARIATIONS = Operation(
    "POST",
    "/v1/images/variations",
    "variations",
    "Vary a picture, in OpenAI's shape",
    vary,
    "generate",
    body=VariationRequest,
    files=(FileField("image", "One picture, of every kind that /v1/encode takes."),),
    answers={"application/json": ImagesAnswer},
    errors=(404, 413, 422),
)

"""POST /v1/images/variations, in OpenAI's shape: pictures near one that is given."""

from models.errors import InputError
from service.call import Answer, Call
from service.endpoints.openai import ImageRequest, ImagesAnswer
from service.http.body import FileField
from service.http.operation import Operation
from service.runtime import Runtime


class VariationRequest(ImageRequest):
    """OpenAI's request for variations."""


async def vary(runtime: Runtime, call: Call) -> Answer:
    """Refuses, after what is wrong with the model itself: a variation starts from the code of a picture."""
    request: VariationRequest = call.body
    served = runtime.registry.sampler(request.model)
    raise InputError(
        f"{served.id} makes no variations of a picture: POST /v1/interpolate goes between seeds and latents.",
        where="model",
    )


VARIATIONS = Operation(
    "POST",
    "/v1/images/variations",
    "variations",
    "Vary a picture, in OpenAI's shape",
    vary,
    "generate",
    body=VariationRequest,
    files=(FileField("image", "One picture."),),
    answers={"application/json": ImagesAnswer},
    errors=(404,),
)

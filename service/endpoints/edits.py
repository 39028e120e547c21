"""POST /v1/images/edits, in OpenAI's shape: photos are translated."""

import models
from models.errors import InputError
from service.call import Answer, Call
from service.encoding.masks import read_clear_mask
from service.endpoints.openai import (
    EVENTS,
    STREAM,
    Finished,
    ImagesAnswer,
    PromptedRequest,
    answer,
    coding_of,
    named,
    size_of,
)
from service.endpoints.pipeline import Order, checked, direction_of, translate_all
from service.endpoints.provenance import origin_of
from service.http.body import FileField
from service.http.operation import Operation
from service.runtime import Runtime

MOST_FILES = 16  # as OpenAI has it


class EditRequest(PromptedRequest):
    """OpenAI's request for an edit. The prompt names the domain to translate to, the last one where it names both."""


async def edit(runtime: Runtime, call: Call) -> Answer:
    """A translation of each photo, asked for and answered in other words."""
    request: EditRequest = call.body
    served = runtime.registry.translator(request.model)
    if request.n not in (None, 1):
        raise InputError("A photo has one translation: n is 1.", where="n")
    uploads = call.files["image"]
    media, quality = coding_of(request)
    order = Order(
        model=served.source.name,
        unit=served.unit,
        direction=direction(served.unit.network, request.prompt),
        cycle=False,
        kind=media,
        quality=quality,
        origin=origin_of(served, "compositeWithTrainedAlgorithmicMedia", {}),
        size=size_of(request.size, len(uploads)),
        reads_mask=read_clear_mask,
    )
    masks = call.files.get("mask", [])
    allowed = [*masks, *[None] * (len(uploads) - len(masks))]  # it is of the first photo, as OpenAI has it
    done = await translate_all(runtime, call, order, await checked(runtime, call, order, uploads, allowed))
    images = [Finished(one.file, one.height, one.width, one.origin) for one in done]
    return await answer(runtime, call, "image_edit", served.id, images)


def direction(network: models.Translator, prompt: str) -> models.Direction:
    """To the domain that the prompt names last; where it names none, the model's first direction.

    Raises InputError for a domain that the model does not translate to.
    """
    found = named(prompt, network.domains)
    return direction_of(network, found[-1] if found else network.directions[0], where="prompt")


EDITS = Operation(
    "POST",
    "/v1/images/edits",
    "edits",
    "Translate photos, in OpenAI's shape",
    edit,
    "generate",
    body=EditRequest,
    files=(
        FileField("image", "Photos, of every kind that /v1/translate takes.", most=MOST_FILES, alias="image[]"),
        FileField("mask", "Of the first photo, as large as it: what is transparent may change.", required=False),
    ),
    answers={"application/json": ImagesAnswer, EVENTS: STREAM},
    errors=(404, 413, 422),
)

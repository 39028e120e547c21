"""POST /v1/inspect: where an image came from."""

from pydantic import BaseModel, Field
from starlette.responses import Response

import models
from models.images import decode
from service.http.body import FileField
from service.http.operation import Call, Operation
from service.runtime import Core


class InspectAnswer(BaseModel):
    """What an image says of itself."""

    format: str
    width: int
    height: int
    mode: str = Field(description="Pillow's name, such as RGB or L.")
    frames: int
    model: str | None
    digest: str | None
    seed: int | None
    text: dict[str, str] = Field(description="All text in a PNG.")
    served: bool = Field(description="The checkpoint that made it is served now.")
    sample: dict[str, object] | None = Field(description="The body that makes it again with POST /v1/sample.")


async def inspect(core: Core, call: Call) -> Response:
    """Reads back what /v1/sample wrote into its PNGs."""
    upload = call.files["image"][0]
    data = await upload.read()
    answer = await core.encode(describe, data, upload.filename or "image", core.settings.image_pixels)
    served = next((one for one in core.registry.served() if one.digest == answer.digest), None)
    if served is not None:
        answer = answer.model_copy(update={"served": True, "sample": _again(served.id, answer)})
    return Response(answer.model_dump_json(), media_type="application/json")


def describe(data: bytes, name: str, max_pixels: int) -> InspectAnswer:
    """What the file itself says; raises as `models.decode` does."""
    image = decode(data, name=name[:100], max_pixels=max_pixels)
    kept = getattr(image, "text", {})
    text = {str(key): str(value) for key, value in kept.items()}
    seed = text.get("gan.seed", "")
    return InspectAnswer(
        format=(image.format or "unknown").lower(),
        width=image.width,
        height=image.height,
        mode=image.mode,
        frames=int(getattr(image, "n_frames", 1)),
        model=text.get("gan.model"),
        digest=text.get("gan.digest"),
        seed=int(seed) if seed.isascii() and seed.isdigit() and int(seed) < models.SEED_LIMIT else None,
        text=text,
        served=False,
        sample=None,
    )


def _again(model: str, answer: InspectAnswer) -> dict[str, object] | None:
    """The request that makes the image again; None for one that no seed made."""
    if answer.seed is None:
        return None
    body: dict[str, object] = {"model": model, "seed": answer.seed}
    try:
        if "gan.truncation" in answer.text:
            body["truncation"] = float(answer.text["gan.truncation"])
        if "gan.class" in answer.text:
            body["class"] = int(answer.text["gan.class"])
    except ValueError:  # text that someone else wrote
        return None
    return body


INSPECT = Operation(
    "POST",
    "/v1/inspect",
    "inspect",
    "Read an image's origin",
    inspect,
    "models",
    description="Model, checkpoint digest and seed, from the text that /v1/sample writes into every PNG.",
    files=(FileField("image", "One image."),),
    answers={"application/json": InspectAnswer},
    errors=(422,),
)

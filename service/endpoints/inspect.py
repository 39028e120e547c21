"""POST /v1/inspect: where an image came from."""

import math
import re
from collections.abc import Mapping

from pydantic import BaseModel, Field

import models
from service.call import Answer, Call, File
from service.http.answers import readable
from service.http.body import FileField
from service.http.operation import Operation
from service.runtime import Runtime


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
    text: dict[str, str] = Field(description="Text in a PNG, up to 32,768 characters of it, our own first.")
    text_left_out: int = Field(description="How many more texts it has, past that.")
    served: bool = Field(description="The checkpoint that made it is served now.")
    sample: dict[str, object] | None = Field(description="The body that makes it again with POST /v1/sample.")


_MOST_TEXT = 32 * 2**10  # characters of text that are answered; the longest that we write, a latent, has 22,000
_WHOLE = re.compile(r"[0-9]{1,19}")


async def inspect(runtime: Runtime, call: Call) -> Answer:
    """Reads back what /v1/sample wrote into its PNGs."""
    answer = await runtime.beside_the_loop(call, describe, call.files["image"][0], runtime.settings.image_pixels)
    served = next((one for one in runtime.registry.served() if one.digest == answer.digest), None)
    if served is not None:
        answer = answer.model_copy(update={"served": True, "sample": _again(served.id, answer)})
    return Answer.of(answer)


def describe(file: File, max_pixels: int) -> InspectAnswer:
    """What the file itself says; raises as `models.opened` does."""
    with models.opened(file.read(), name=file.name[:100], max_pixels=max_pixels) as image:
        image.load()  # whole, or not worth a word
        kind, (width, height), mode = (image.format or "unknown").lower(), image.size, image.mode
        frames = int(getattr(image, "n_frames", 1))
        text = {readable(str(key)): readable(str(value)) for key, value in getattr(image, "text", {}).items()}
    ours = {key: value for key, value in text.items() if key.startswith("gan.") and len(value) <= _MOST_TEXT}
    shown = _within(ours | text, _MOST_TEXT)
    return InspectAnswer(
        format=kind,
        width=width,
        height=height,
        mode=mode,
        frames=frames,
        model=shown.get("gan.model"),
        digest=shown.get("gan.digest"),
        seed=_whole(shown.get("gan.seed", ""), models.SEED_LIMIT),
        text=shown,
        text_left_out=len(text) - len(shown),
        served=False,
        sample=None,
    )


def _within(text: Mapping[str, str], most: int) -> dict[str, str]:
    """The entries, from the first on, that fit into so many characters."""
    kept: dict[str, str] = {}
    for key, value in text.items():
        if len(key) + len(value) <= most:
            most -= len(key) + len(value)
            kept[key] = value
    return kept


def _whole(text: str, limit: int) -> int | None:
    """The number that a text is, where it is one below the limit; anybody can write any text into a PNG."""
    return int(text) if _WHOLE.fullmatch(text) and int(text) < limit else None


def _again(model: str, answer: InspectAnswer) -> dict[str, object] | None:
    """The request that makes the image again; None for one that no seed made, or whose text is not ours."""
    text = answer.text
    body: dict[str, object] = {"model": model, "seed": answer.seed}
    if "gan.truncation" in text:
        body["truncation"] = _fraction(text["gan.truncation"])
    if "gan.class" in text:
        body["class"] = _whole(text["gan.class"], models.SEED_LIMIT)
    return None if None in body.values() else body


def _fraction(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


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

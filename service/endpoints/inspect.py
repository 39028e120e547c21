"""POST /v1/inspect: where an image came from."""

import base64
import binascii
import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from PIL import Image
from pydantic import BaseModel, Field

import models
from models import origin
from service.call import Answer, Call, File
from service.encoding.manifests import Verdict
from service.encoding.pictures import ImageFormat
from service.http.answers import readable
from service.http.body import FileField
from service.http.operation import Operation
from service.runtime import Runtime


class Manifest(BaseModel):
    """The C2PA manifest that a picture ends with, and whether it holds."""

    state: Literal["trusted", "valid", "invalid", "unread"] = Field(
        description="trusted: signed under the operator's anchors; valid: intact, whoever signed it; invalid; or "
        "unread, where this service lacks the package."
    )
    generator: str | None = Field(description="The program that claims it.")
    signed_by: str | None = Field(description="The certificate's common name.")
    issuer: str | None = Field(description="The certificate's organisation.")
    time: str | None = Field(description="When a timestamp authority saw it.")
    actions: list[str] = Field(description="What was done, such as c2pa.created.")
    source_types: list[str] = Field(description="IPTC's words for what these actions gave.")
    ingredients: list[str] = Field(description="Titles of what went into it.")
    problems: list[str] = Field(description="C2PA's codes of what does not hold, such as assertion.dataHash.mismatch.")


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
    digital_source_type: str | None = Field(
        description="IPTC's word for how it was made, such as trainedAlgorithmicMedia, from its XMP, whoever wrote it."
    )
    text: dict[str, str] = Field(
        description="What we wrote into it, and the text in a PNG: up to 32,768 characters of it, our own first."
    )
    text_left_out: int = Field(description="How many more texts it has, past that.")
    c2pa: Manifest | None = Field(description="The signed manifest that it came with, whoever signed; null: none.")
    served: bool = Field(description="The checkpoint that made it is served now.")
    sample: dict[str, object] | None = Field(description="The body that makes it again with POST /v1/sample.")


_MOST_TEXT = 32 * 2**10  # characters of text that are answered; the longest that we write, a latent, has 22,000
_WHOLE = re.compile(r"[0-9]{1,19}")


async def inspect(runtime: Runtime, call: Call) -> Answer:
    """Reads back what this service writes into its pictures."""
    answer = await runtime.beside_the_loop(call, describe, call.files["image"][0], runtime)
    served = next((one for one in runtime.registry.served() if one.digest == answer.digest), None)
    if served is not None:
        answer = answer.model_copy(update={"served": True, "sample": _again(served.id, answer)})
    return Answer.of(answer)


def describe(file: File, runtime: Runtime) -> InspectAnswer:
    """What the file itself says; raises as `models.opened` does."""
    data = file.read()
    with models.opened(data, name=file.name[:100], max_pixels=runtime.settings.image_pixels) as image:
        image.load()  # whole, or not worth a word
        kind, (width, height), mode = (image.format or "unknown").lower(), image.size, image.mode
        frames = int(getattr(image, "n_frames", 1))
        chunks = {str(key): str(value) for key, value in getattr(image, "text", {}).items()}
        found = origin.read(_packet(image, data))
    if found.text:
        chunks.pop("XML:com.adobe.xmp", None)  # which is read
    text = {readable(key): readable(value) for key, value in {**found.text, **chunks}.items()}
    ours = {key: value for key, value in text.items() if key.startswith(origin.PREFIX) and len(value) <= _MOST_TEXT}
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
        digital_source_type=found.source and readable(found.source[:200]),
        text=shown,
        text_left_out=len(text) - len(shown),
        c2pa=_manifest(runtime.verifier.verify(data, kind)),
        served=False,
        sample=None,
    )


def _packet(image: Image.Image, data: bytes) -> bytes:
    """Its XMP, or nothing; Pillow does not read a GIF's."""
    packet = origin.from_gif(data) if image.format == "GIF" else image.info.get("xmp", b"")
    return packet if isinstance(packet, bytes) else b""


def _manifest(verdict: Verdict | None) -> Manifest | None:
    return Manifest.model_validate(dataclasses.asdict(verdict)) if verdict else None


def _within(text: Mapping[str, str], most: int) -> dict[str, str]:
    """The entries, from the first on, that fit into so many characters."""
    kept: dict[str, str] = {}
    for key, value in text.items():
        if len(key) + len(value) <= most:
            most -= len(key) + len(value)
            kept[key] = value
    return kept


def _whole(text: str, limit: int) -> int | None:
    """The number that a text is, where it is one below the limit; anybody can write any text into a picture."""
    return int(text) if _WHOLE.fullmatch(text) and int(text) < limit else None


def _again(model: str, answer: InspectAnswer) -> dict[str, object] | None:
    """The request that makes the image again; None for one of several images or of a photo, or with text not ours."""
    text = answer.text
    body: dict[str, object] = {"model": model}
    if "gan.latent" in text:
        body["latents"] = _latents(text["gan.latent"])
        body["space"] = text["gan.space"] if text.get("gan.space") in get_args(models.Space) else "z"
    else:
        body["seed"] = answer.seed
        if "gan.truncation" in text:
            body["truncation"] = _fraction(text["gan.truncation"])
    if "gan.class" in text:
        body["class"] = _whole(text["gan.class"], models.SEED_LIMIT)
    if answer.format in get_args(ImageFormat) and answer.format != "png":
        body["format"] = answer.format
    return None if None in body.values() else body


def _latents(text: str) -> list[list[float]] | None:
    """One latent, as the text has it: float32, base64."""
    try:
        numbers = np.frombuffer(base64.b64decode(text, validate=True), np.float32)
    except (binascii.Error, ValueError):
        return None
    return [numbers.tolist()] if len(numbers) and np.isfinite(numbers).all() else None


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
    description="Model, checkpoint digest and seed or latent, as this service writes them into every picture.",
    files=(FileField("image", "One image."),),
    answers={"application/json": InspectAnswer},
    errors=(422,),
)

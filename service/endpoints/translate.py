"""POST /v1/translate: photos and clips to the other domain, the same size and way up."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, BinaryIO, Literal, get_args

from pydantic import BaseModel, Field

from models import Animation, Video
from models.errors import InputError
from service.call import Answer, Call, File
from service.encoding import pictures
from service.encoding.packing import JsonPack, ZipPack
from service.encoding.photos import Header
from service.encoding.pictures import ImageFormat
from service.endpoints.fields import Body, ModelName, Quality
from service.endpoints.orders import Order, Sound, Translated
from service.endpoints.pipeline import Checked, checked, direction_of, translate_all
from service.endpoints.provenance import origin_of
from service.engine.translator import Translator
from service.http import accept
from service.http.body import FileField
from service.http.operation import Operation
from service.registry.checkpoints import Served
from service.runtime import Runtime
from service.setting_values import NUMERAL

MOST_FILES = 32

Output = Literal["image", "zip", "json"]
Format = ImageFormat | Literal["gif", "apng"] | Video


class TranslateRequest(Body):
    """The fields beside the images."""

    model: ModelName | None = None
    direction: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        "a_to_b", description="a_to_b, b_to_a, or the domain to translate to, such as zebra."
    )
    output: Output | None = Field(
        None, description="By default what Accept asks for; failing that, an image for one and a zip for more."
    )
    format: Format | None = Field(
        None,
        description="By default what Accept asks for; failing that, png, and for a clip its own. Of a clip, png, jpeg "
        "and avif hold the first frame.",
    )
    quality: Quality = 90
    cycle: bool = Field(
        False,
        description="Also translate back, and report the mean absolute difference to the input, 0 (the same) to 1.",
    )
    mask: bool = Field(
        False,
        description="true: also give the mask, how far each pixel was changed, as a grey PNG (models with attention).",
    )
    strength: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), NUMERAL] = Field(
        1.0, description="How much of the change is kept: 0 gives the photo back, 1 the translation."
    )


class TranslatedImage(BaseModel):
    """One image of a JSON answer."""

    name: str
    width: int
    height: int
    format: Format
    frames: int = Field(description="1 for a photo.")
    sound: Sound | None = Field(description="What became of a video's; null where it has none.")
    tiles: int = Field(description="1 for an image, or a frame, translated in one piece.")
    cycle_l1: float | None
    data: str = Field(description="The image file, base64.")
    mask: str | None = Field(description="With mask: a grey PNG of the image's size, base64.")


class TranslateAnswer(BaseModel):
    """The answer of /v1/translate as JSON."""

    model: str
    digest: str
    direction: Literal["a_to_b", "b_to_a"]
    format: ImageFormat = Field(description="Of photos; clips have their own.")
    images: list[TranslatedImage]


_MOVING: Mapping[str, Animation | Video] = {
    "image/gif": "gif",
    "image/webp": "webp",
    "image/apng": "apng",
    "video/mp4": "mp4",
    "video/webm": "webm",
}
_MEDIA: Mapping[Format, str] = {**{kind: media for media, kind in (*_MOVING.items(), *accept.IMAGES.items())}}
_ONE: Mapping[str, Output] = {
    **dict.fromkeys([*accept.IMAGES, *_MOVING], "image"),
    "application/json": "json",
    "application/zip": "zip",
}
_SEVERAL: Mapping[str, Output] = {"application/zip": "zip", "application/json": "json"}


@dataclass(frozen=True)
class Asked:
    """What a request comes to."""

    served: Served[Translator]
    order: Order
    uploads: Checked
    output: Output


async def prepare(runtime: Runtime, call: Call) -> Asked:
    """Raises InputError for what does not fit the model or the uploads, and as `checked` does."""
    request: TranslateRequest = call.body
    served = runtime.registry.translator(request.model)
    unit = served.unit
    direction = direction_of(unit.network, request.direction)
    uploads = call.files["images"]
    alone = len(uploads) == 1 and not request.mask
    output = accept.choose(request.output, call.accept, _ONE if alone else _SEVERAL)
    if output == "image" and not alone:
        what = "no mask beside it" if request.mask else f"not {len(uploads)}"
        raise InputError(f"output=image holds one image, {what}: use zip or json.", where="output")
    if request.mask and not unit.network.attends:
        raise InputError("This model has no attention, so there is no mask to give.", where="mask")
    if request.cycle and len(unit.network.directions) < 2:
        raise InputError("This checkpoint goes one way only: there is no round trip.", where="cycle")
    origin = origin_of(served, "compositeWithTrainedAlgorithmicMedia", {})
    order = Order(
        served.source.name,
        unit,
        direction,
        request.cycle,
        _photo_format(request.format, call.accept),
        request.quality,
        origin,
        strength=request.strength,
        shows_mask=request.mask,
        clip=functools.partial(_clip_format, request.format, call.accept),
    )
    masks = _one_each(call.files.get("mask", []), len(uploads))
    return Asked(served, order, await checked(runtime, call, order, uploads, masks), output)


async def translate(runtime: Runtime, call: Call) -> Answer:
    """All images at once; those of one size share forward passes, with other requests' too."""
    asked = await prepare(runtime, call)
    served, order, output = asked.served, asked.order, asked.output
    done = await translate_all(runtime, call, order, asked.uploads)
    headers = {"X-Model": served.id, "X-Digest": served.digest, "X-Direction": order.direction}
    if order.cycle:
        headers["X-Cycle-L1"] = ",".join(f"{one.cycle_l1:.6f}" for one in done)
    if output == "image":
        headers |= {"X-Sound": done[0].sound} if done[0].sound is not None else {}
        return Answer(done[0].file, _MEDIA[done[0].format], headers)
    out = call.out()
    pack = _zip if output == "zip" else _json
    about = {"model": served.id, "digest": served.digest, "direction": order.direction, "format": order.kind}
    await runtime.beside_the_loop(call, pack, out, about, order.unit, done)
    return Answer(out, pictures.MEDIA[output], headers)


def _photo_format(field: Format | None, wanted: str) -> ImageFormat:
    """What photos are answered in, and first frames; where the field names a format of clips alone, none is."""
    named = next((kind for kind in get_args(ImageFormat) if kind == field), None)
    return named or accept.image_format(wanted)


def _clip_format(field: Format | None, wanted: str, upload: Header) -> Animation | Video | None:
    """What an upload is answered in as a clip, by the field, else by the Accept header `wanted`; None: as one picture.

    A clip goes on as it is, and stands still where nothing that moves may come. A photo is a clip of one frame where
    nothing else may come.
    """
    is_video = upload.motion is not None and upload.motion.kind in get_args(Video)
    if is_video and field in ("png", "jpeg", "avif"):
        raise InputError(f"{upload.name} is a video: ask for mp4, webm, gif, webp or apng.", where="format")
    if field is not None:
        moves = upload.motion is not None or field != "webp"
        return next((kind for kind in _MOVING.values() if kind == field and moves), None)
    still = accept.preferred(wanted, accept.IMAGES)
    if upload.motion is None:
        return None if still else accept.preferred(wanted, _MOVING)
    own = upload.motion.kind
    moving = accept.preferred(wanted, {_MEDIA[own]: own, **_MOVING})
    return moving or (None if still and not is_video else own)


def _zip(out: BinaryIO, about: Mapping[str, str], unit: Translator, done: list[Translated]) -> None:
    pack = ZipPack(out)
    for index, one in enumerate(done):
        name = f"{index:03d}_{_stem(one.name)}"
        pack.add(f"{name}.{'png' if one.format == 'apng' else one.format}", one.file)
        if one.mask is not None:
            pack.add(f"{name}.mask.png", one.mask)
    pack.close()


def _json(out: BinaryIO, about: Mapping[str, str], unit: Translator, done: list[Translated]) -> None:
    """A `TranslateAnswer`."""
    pack = JsonPack(out, about, "images")
    for one in done:
        pack.add(_described(unit, one).model_dump())
    pack.close()


def _one_each(masks: list[File], count: int) -> list[File]:
    """No mask, or as many as there are images; raises InputError."""
    if len(masks) not in (0, 1, count):
        raise InputError(
            f"{len(masks)} masks came for {count} images: send one for all, or one for each.", where="mask"
        )
    return masks * count if len(masks) == 1 else masks


def _described(unit: Translator, one: Translated) -> TranslatedImage:
    return TranslatedImage(
        name=one.name,
        width=one.width,
        height=one.height,
        format=one.format,
        frames=one.frames,
        sound=one.sound,
        tiles=unit.tiles(one.height, one.width),
        cycle_l1=one.cycle_l1,
        data=pictures.base64_of(one.file),
        mask=None if one.mask is None else pictures.base64_of(one.mask),
    )


def _stem(name: str) -> str:
    """A file name's stem without anything that means something in a path."""
    stem = name.replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or name
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in stem)[:60] or "image"


TRANSLATE = Operation(
    "POST",
    "/v1/translate",
    "translate",
    "Translate photos and clips",
    translate,
    "generate",
    prepare,
    description=(
        "Any size from 1 x 1 to the service's limit in pixels; the answer has the same size and is upright. Large "
        "images go in overlapping tiles. GIF, animated WebP, APNG and, where PyAV is installed, MP4 and "
        "WebM come back moving, with their timing and loop. "
        "Alpha is kept, colours become sRGB."
    ),
    body=TranslateRequest,
    files=(
        FileField(
            "images",
            "Photos and clips: PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF, PPM or, where pillow-heif is installed, HEIC.",
            most=MOST_FILES,
        ),
        FileField(
            "mask",
            "A file: white may change, black stays; as large as its image. One for all, or one for each.",
            required=False,
            most=MOST_FILES,
            also_text=True,
        ),
    ),
    answers={
        **dict.fromkeys([*accept.IMAGES, *_MOVING, "application/zip"]),
        "application/json": TranslateAnswer,
    },
    headers={
        "X-Model": "Name and version.",
        "X-Digest": "SHA-256 of the checkpoint.",
        "X-Direction": "a_to_b or b_to_a.",
        "X-Sound": "Of a video with sound: kept, or dropped where the answer is of another kind.",
        "X-Cycle-L1": "With cycle: of each image, separated by commas.",
    },
    errors=(404, 406, 422),
    examples={"zebra": {"direction": "a_to_b"}},
)

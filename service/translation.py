"""POST /v1/translate: photos to the other domain, the same size and way up."""

import asyncio
import functools
import io
import struct
from dataclasses import dataclass
from typing import cast

import numpy as np
from PIL import Image, ImageCms
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, Response

import models
from models.errors import InputError
from models.images import Pixels
from service import bulk, encoders
from service.core import Core
from service.operations import Call, Operation
from service.schemas import ImageFormat
from service.schemas_images import TranslateAnswer, TranslatedImage, TranslateRequest
from service.settings import Settings
from service.translator import Translator
from service.uploads import FileField

MOST_FILES = 32
# What a profile's colour space can be said of.
_MODES = {"RGB": ("RGB", "RGBA", "P", "PA"), "GRAY": ("1", "L", "LA", "I;16", "I;16B"), "CMYK": ("CMYK",)}


@dataclass(frozen=True)
class Photo:
    """A decoded upload.

    Attributes:
        pixels: uint8 [h, w, 3] (or 1, for a grey model), upright, in sRGB.
        alpha: uint8 [h, w], or None.
        profiled: it came with a colour profile, so the answer carries sRGB's.
    """

    name: str
    pixels: Pixels
    alpha: Pixels | None
    profiled: bool


@dataclass(frozen=True)
class Translated:
    """A translation; `cycle_l1` is the mean absolute difference of the round trip, 0..1."""

    photo: Photo
    pixels: Pixels
    cycle_l1: float | None


async def translate(core: Core, call: Call) -> Response:
    """All images at once; those of one size share forward passes, with other requests' too."""
    request: TranslateRequest = call.body
    served = core.registry.get(request.model, Translator)
    unit = cast(Translator, served.unit)
    direction = direction_of(unit.network, request.direction)
    uploads = call.files["images"]
    accept = call.request.headers.get("accept", "")
    choice = encoders.choose(accept, request.output, request.format, len(uploads), ("image", "zip", "json"))
    if request.cycle and len(unit.network.directions) < 2:
        raise InputError("This checkpoint goes one way only: there is no round trip.", where="cycle")
    channels = unit.network.config.channels
    photos = [await core.encode(read_photo, one, index, core.settings, channels) for index, one in enumerate(uploads)]
    for photo in photos:
        if photo.alpha is not None and choice.format == "jpeg":
            raise InputError(f"{photo.name} is transparent, and JPEG is not: ask for png or webp.", where="format")
    done = await translate_all(unit, photos, direction, request.cycle, call)
    translations = [one.pixels for one in done]
    core.served("translate", served.source.name, translations, drift=f"{served.source.name}:{direction}")
    files = await core.encode(_encode_all, done, choice.format, request.quality, served.id, served.digest)
    headers = {"X-Model": served.id, "X-Digest": served.digest, "X-Direction": direction}
    if request.cycle:
        headers["X-Cycle-L1"] = ",".join(f"{one.cycle_l1:.6f}" for one in done)
    if choice.output == "image":
        return Response(files[0], media_type=encoders.MEDIA[choice.format], headers=headers)
    if choice.output == "zip":
        names = [f"{index:03d}_{_stem(one.photo.name)}.{choice.format}" for index, one in enumerate(done)]
        packed = await core.encode(encoders.zip_of, dict(zip(names, files, strict=True)))
        return Response(packed, media_type=encoders.MEDIA["zip"], headers=headers)
    answer = TranslateAnswer(
        model=served.id,
        digest=served.digest,
        direction=direction,
        format=choice.format,
        images=[_described(unit, one, file) for one, file in zip(done, files, strict=True)],
    )
    return JSONResponse(answer.model_dump(), headers=headers)


def direction_of(network: models.Translator, wanted: str) -> models.Direction:
    """From a_to_b, b_to_a or the name of the domain to translate to; raises InputError."""
    first, second = network.domains
    named: dict[str, models.Direction] = {"a_to_b": "a_to_b", "b_to_a": "b_to_a", first: "b_to_a", second: "a_to_b"}
    if wanted not in named or named[wanted] not in network.directions:
        raise InputError(
            f"This model has {first} (a) and {second} (b), and goes {' and '.join(network.directions)}; "
            f"direction is one of these, or the domain to translate to.",
            where="direction",
        )
    return named[wanted]


def read_photo(upload: UploadFile, index: int, settings: Settings, channels: int) -> Photo:
    """Decodes an upload. Raises what `models.decode` does, naming the file."""
    name = (upload.filename or f"image {index}")[:100]
    image = models.decode(upload.file.read(), name=name, max_pixels=settings.translate_pixels)
    profile = image.info.get("icc_profile")
    image = models.upright(image)
    rgb, alpha = models.split_alpha(image)
    rgb = _to_srgb(image, rgb, profile)
    pixels = np.asarray(rgb) if channels == 3 else np.asarray(rgb.convert("L"))[..., None]
    return Photo(name, pixels, None if alpha is None else np.asarray(alpha), bool(profile))


def _to_srgb(image: Image.Image, rgb: Image.Image, profile: bytes | None) -> Image.Image:
    """Networks saw sRGB, so what a profile says of an image's colour, grey or ink is converted.

    A profile that cannot be read, or is of another kind than the pixels, is as good as none.
    """
    if not profile:
        return rgb
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if image.mode not in _MODES.get(space, ()):
            return rgb
        pixels = {"RGB": rgb, "GRAY": rgb.convert("L"), "CMYK": image}[space]
        return ImageCms.profileToProfile(pixels, source, ImageCms.createProfile("sRGB"), outputMode="RGB") or rgb
    except (ImageCms.PyCMSError, OSError, ValueError):
        return rgb


async def translate_all(
    unit: Translator, photos: list[Photo], direction: models.Direction, cycle: bool, call: Call
) -> list[Translated]:
    """At once, so that images of one size meet in batches; for a job one by one, with patience for a full queue."""
    finished = 0

    async def image(pixels: Pixels, way: models.Direction) -> Pixels:
        make = functools.partial(unit.image, pixels, way)
        return await (make() if call.progress is None else bulk.patiently(make))

    async def one(photo: Photo) -> Translated:
        nonlocal finished
        pixels = await image(photo.pixels, direction)
        error = None
        if cycle:
            back: models.Direction = "b_to_a" if direction == "a_to_b" else "a_to_b"
            again = await image(pixels, back)
            error = float(np.abs(again.astype(np.int16) - photo.pixels).mean()) / 255
        finished += 1
        if call.progress is not None:
            call.progress(finished, len(photos))
        return Translated(photo, pixels, error)

    if call.progress is not None:
        call.progress(0, len(photos))
        return [await one(photo) for photo in photos]
    tasks = [asyncio.create_task(one(photo)) for photo in photos]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:  # the first failure takes the others back
            task.cancel()


@functools.cache
def _srgb() -> bytes:
    """An sRGB profile without its time of making (bytes 24 to 36), so that equal requests give equal bytes."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[36:]


def _encode_all(done: list[Translated], kind: ImageFormat, quality: int, model: str, digest: str) -> list[bytes]:
    text = {"gan.model": model, "gan.digest": digest}
    srgb = _srgb()
    files = []
    for one in done:
        pixels = one.pixels
        if one.photo.alpha is not None:
            colour = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
            pixels = np.concatenate([colour, one.photo.alpha[..., None]], axis=2)
        icc = srgb if one.photo.profiled and pixels.shape[2] > 1 else None
        files.append(encoders.encode(pixels, kind, quality, text, icc))
    return files


def _described(unit: Translator, one: Translated, file: bytes) -> TranslatedImage:
    height, width = one.pixels.shape[:2]
    return TranslatedImage(
        name=one.photo.name,
        width=width,
        height=height,
        tiles=unit.tiles(height, width),
        cycle_l1=one.cycle_l1,
        data=encoders.base64_of(file),
    )


def _stem(name: str) -> str:
    """A file name's stem without anything that means something in a path."""
    stem = name.replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or name
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in stem)[:60] or "image"


TRANSLATE = Operation(
    "POST",
    "/v1/translate",
    "translate",
    "Translate photos",
    translate,
    "generate",
    description=(
        "Any size from 1 x 1 to the service's limit in pixels; the answer has the same size and is upright. Large "
        "images go in overlapping tiles. Of an animation, the first frame is taken. Alpha is kept, colours become sRGB."
    ),
    body=TranslateRequest,
    files=(FileField("images", "Photos: PNG, JPEG, WebP, GIF, BMP, TIFF or PPM.", most=MOST_FILES),),
    answers={
        **{media: None for name, media in encoders.MEDIA.items() if name not in ("json", "npz")},
        "application/json": TranslateAnswer,
    },
    headers={
        "X-Model": "Name and version.",
        "X-Digest": "SHA-256 of the checkpoint.",
        "X-Direction": "a_to_b or b_to_a.",
        "X-Cycle-L1": "With cycle: of each image, separated by commas.",
    },
    errors=(404, 406, 422),
    examples={"zebra": {"direction": "a_to_b"}},
)

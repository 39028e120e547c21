"""Photos on their way through a translator, each for itself, so that few are decoded at once.

    headers ── checked ──> of each photo: room in the budget ── decode ── device ── encode ──> its file

Whatever headers can tell (sizes, what the format of the answer has room for, a full queue) is said before anything is
decoded, and so one photo does not lose the work on the others. A job, whose work is long, decodes all of them once
before it begins, one after the other, for what only their pixels can tell.
"""

import asyncio
import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

import models
from models.errors import InputError
from models.images import Pixels
from service.call import Call, File
from service.encoding import pictures
from service.encoding.masks import blended, mask_file
from service.encoding.photos import Header, Photo, read_clip_header, read_header, read_photo, srgb
from service.encoding.writer import Writer
from service.endpoints import clips
from service.endpoints.orders import Order, Pieces, Shared, Translated, Upload, allowed_of, check_mask, with_alpha
from service.runtime import Runtime


def direction_of(network: models.Translator, wanted: str, where: str = "direction") -> models.Direction:
    """From a_to_b, b_to_a or the name of the domain to translate to; raises InputError for the field `where`."""
    named: dict[str, models.Direction] = {direction: direction for direction in network.directions}
    named |= network.ends
    if wanted not in named:
        first, second = network.domains
        raise InputError(
            f"This model has {first} (a) and {second} (b), and goes {' and '.join(network.directions)}; "
            f"direction is one of these, or the domain to translate to.",
            where=where,
        )
    return named[wanted]


Checked = Sequence[tuple[Upload, Header]]
"""Photos and clips whose headers say that they can be translated as ordered."""


async def checked(
    runtime: Runtime, call: Call, order: Order, files: list[File], allowed: Sequence[File | None] = ()
) -> Checked:
    """Looks at headers alone.

    Args:
        allowed: of each photo the client's mask of what may change, as large as it, or None; left out, none has one.

    Raises what `models.opened` does, InputError for a mask of another size, LimitError for sizes.
    """
    most = runtime.most_pixels(call)
    uploads = [Upload(photo, mask) for photo, mask in zip(files, allowed or [None] * len(files), strict=True)]
    headers = await runtime.each(call, functools.partial(_looked_at, most=most), uploads)
    for header in headers:
        order.unit.check(header.height, header.width, header.name, most)
        if (kind := order.clip(header)) is not None:
            clips.check(order, header, kind, runtime.most_clip_pixels(call), call.is_job)
        else:
            models.check_sides(order.kind, header.height, header.width, header.name, "format")
    return list(zip(uploads, headers, strict=True))


async def translate_all(runtime: Runtime, call: Call, order: Order, uploads: Checked) -> list[Translated]:
    """At once, so that images of one size meet in batches; for a job one by one, with patience for a full queue.

    Raises what `models.decode` and `order.reads_mask` do, InputError for transparency in a JPEG and for a mask that is
    turned another way, OverloadError.
    """
    most, headers = runtime.most_pixels(call), [header for _, header in uploads]
    if call.progress is not None:
        pieces = Pieces(order, headers, call.progress, call.show)
        pipeline = _Pipeline(Shared(runtime, call, order, most, pieces))
        return await _one_by_one(pipeline, pieces, uploads)
    shared = Shared(runtime, call, order, most)
    pipeline = _Pipeline(shared)
    ways = 2 if order.cycle else 1
    sizes = [(one.height, one.width) for one in headers for _ in range(ways * order.frames(one))]
    with order.unit.let_in(shared.flow, sizes):
        tasks = [asyncio.create_task(pipeline.go(upload, header)) for upload, header in uploads]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:  # the first failure takes the others back
                task.cancel()


def _looked_at(upload: Upload, most: int) -> Header:
    """The photo's header; the mask's has the same sides, one way or the other."""
    header = read_clip_header(upload.photo, most)
    if upload.mask is not None:
        mask = read_header(upload.mask, most)
        check_mask({mask.height, mask.width} == {header.height, header.width}, mask.name, header)
    return header


async def _one_by_one(pipeline: "_Pipeline", pieces: Pieces, uploads: Checked) -> list[Translated]:
    for upload, header in uploads:
        await pipeline.look(upload, header)
    pieces.tell(0)
    return [await pipeline.go(upload, header) for upload, header in uploads]


class _Pipeline:
    """Photos on their way, from an upload to its file."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def look(self, upload: Upload, header: Header) -> None:
        """Decodes a photo and its mask, or all frames of a clip, for nothing but what is wrong with them."""
        shared = self._shared
        async with shared.runtime.decoded.hold(header.height * header.width):
            if shared.order.clip(header) is None:
                await shared.beside(self._read, upload)
            else:
                await clips.look(shared, upload, header)

    async def go(self, upload: Upload, header: Header) -> Translated:
        shared, order = self._shared, self._shared.order
        if (kind := order.clip(header)) is not None:
            return await clips.translated(shared, upload, header, kind)
        async with shared.runtime.decoded.hold(header.height * header.width):
            photo, allowed = await shared.beside(self._read, upload)
            pixels, mask = await shared.image(photo.pixels, order.direction)
            if allowed is not None or order.strength < 1:
                pixels = await shared.beside(blended, photo.pixels, pixels, allowed, order.strength)
            shared.count(pixels)
            cycle_l1 = None
            if order.cycle:
                again, _ = await shared.image(pixels, order.back)
                cycle_l1 = await shared.beside(_distance, again, photo.pixels)
            done = await shared.beside(_encode, shared.runtime.writer, order, photo, pixels, cycle_l1)
            if order.shows_mask and mask is not None:
                done = dataclasses.replace(done, mask=await shared.beside(mask_file, mask, allowed, order.strength))
            return done

    def _read(self, upload: Upload) -> tuple[Photo, Pixels | None]:
        """A photo, and the client's mask of it."""
        order, most = self._shared.order, self._shared.most
        photo = read_photo(upload.photo, most, order.unit.network.channels)
        if photo.alpha is not None and order.kind == "jpeg":
            if photo.alpha.min() < 255:
                raise InputError(
                    f"{photo.name} is transparent, and JPEG is not: ask for png, webp or avif.", where="format"
                )
            photo = dataclasses.replace(photo, alpha=None)
        return photo, allowed_of(upload, order, most, Header(photo.name, *photo.pixels.shape[:2]))


def _distance(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean()) / 255


def _encode(writer: Writer, order: Order, photo: Photo, pixels: Pixels, cycle_l1: float | None) -> Translated:
    pixels = pictures.resized(with_alpha(pixels, photo.alpha), order.size)
    height, width, channels = pixels.shape
    icc = srgb() if photo.profiled and channels > 1 else None
    origin = dataclasses.replace(order.origin, photo=photo.digest)
    file = writer.image(pixels, order.kind, order.quality, origin, icc)
    return Translated(photo.name, height, width, cycle_l1, file, origin, order.kind)

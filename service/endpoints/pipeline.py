"""Photos on their way through a translator, each for itself, so that few are decoded at once.

    headers ── checked ──> of each photo: room in the budget ── decode ── device ── encode ──> its file

Whatever headers can tell (sizes, what the format of the answer has room for, a full queue) is said before anything is
decoded, and so one photo does not lose the work on the others. A job, whose work is long, decodes all of them once
before it begins, one after the other, for what only their pixels can tell.
"""

import asyncio
import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

import models
from models.errors import InputError
from models.images import Pixels
from models.origin import Origin
from models.tiles import Canvas, Place
from service.call import Call, File, Progress, Show
from service.encoding import pictures
from service.encoding.masks import blended, mask_file, read_mask
from service.encoding.photos import Header, Photo, read_header, read_photo, srgb
from service.encoding.pictures import ImageFormat
from service.encoding.writer import Writer
from service.engine import patience
from service.engine.batcher import Flow
from service.engine.translator import Done, Translator
from service.runtime import Runtime

Result = TypeVar("Result")


@dataclass(frozen=True)
class Order:
    """What is wanted of each photo of a request, which is counted under the name `model`; the answer says `origin`.

    size: (width, height) that the translations are resampled to.
    strength: how much of the change is kept, 0 to 1.  shows_mask: give the mask of what changed as a file too.
    reads_mask: decodes a client's mask of what may change, of so many pixels at most: uint8 [h, w].
    """

    model: str
    unit: Translator
    direction: models.Direction
    cycle: bool
    kind: ImageFormat
    quality: int
    origin: Origin
    size: tuple[int, int] | None = None
    strength: float = 1.0
    shows_mask: bool = False
    reads_mask: Callable[[File, int], Pixels] = read_mask

    @property
    def back(self) -> models.Direction:
        return "b_to_a" if self.direction == "a_to_b" else "a_to_b"


@dataclass(frozen=True)
class _Upload:
    """A photo, and the client's mask of what may change in it."""

    photo: File
    mask: File | None = None


@dataclass(frozen=True)
class Translated:
    """A translation as a file; `cycle_l1` is the mean absolute difference of the round trip, 0..1.

    mask: where it was asked for, a grey PNG of how far each pixel was changed: by the network's attention, as far as
        the client's own mask and the strength let it.
    """

    name: str
    height: int
    width: int
    cycle_l1: float | None
    file: bytes
    origin: Origin
    mask: bytes | None = None


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


async def translate_all(
    runtime: Runtime, call: Call, order: Order, files: list[File], allowed: Sequence[File | None] = ()
) -> list[Translated]:
    """At once, so that images of one size meet in batches; for a job one by one, with patience for a full queue.

    Args:
        allowed: of each photo the client's mask of what may change, as large as it, or None; left out, none has one.

    Raises what `models.decode` and `order.reads_mask` do, InputError for transparency in a JPEG and for a mask of
    another size, LimitError for sizes, OverloadError.
    """
    most = runtime.most_pixels(call)
    uploads = [_Upload(photo, mask) for photo, mask in zip(files, allowed or [None] * len(files), strict=True)]
    headers = await runtime.each(call, functools.partial(_looked_at, most=most), uploads)
    for header in headers:
        order.unit.check(header.height, header.width, header.name, most)
        models.check_sides(order.kind, header.height, header.width, header.name, "format")
    if call.progress is not None:
        pieces = _Pieces(order, headers, call.progress, call.show)
        pipeline = _Pipeline(runtime, call, order, most, pieces)
        return await _one_by_one(pipeline, pieces, list(zip(uploads, headers, strict=True)))
    pipeline = _Pipeline(runtime, call, order, most)
    sizes = [(header.height, header.width) for header in headers] * (2 if order.cycle else 1)
    with order.unit.let_in(pipeline.flow, sizes):
        tasks = [asyncio.create_task(pipeline.go(one, header)) for one, header in zip(uploads, headers, strict=True)]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:  # the first failure takes the others back
                task.cancel()


def _looked_at(upload: _Upload, most: int) -> Header:
    """The photo's header; the mask's has the same sides, one way or the other."""
    header = read_header(upload.photo, most)
    if upload.mask is not None:
        mask = read_header(upload.mask, most)
        _check_mask({mask.height, mask.width} == {header.height, header.width}, mask.name, header)
    return header


def _check_mask(fits: bool, name: str, photo: Header) -> None:
    """Raises InputError, which names a mask and its photo, unless the mask `fits`. It is not made to: a mask that was
    drawn for another photo, or for this one before it was turned, would let the wrong things change."""
    if not fits:
        raise InputError(
            f"{name} has not the size of {photo.name}, {photo.width} x {photo.height} pixels: a mask is as large as "
            "its photo, and turned as it is seen.",
            where="mask",
        )


async def _one_by_one(
    pipeline: "_Pipeline", pieces: "_Pieces", uploads: list[tuple[_Upload, Header]]
) -> list[Translated]:
    for upload, header in uploads:
        await pipeline.look(upload, header)
    pieces.tell(0)
    return [await pipeline.go(upload, header) for upload, header in uploads]


class _Pieces:
    """Tells how far a job is: in photos, a large one counted once for each of its tiles, and twice on a round trip."""

    def __init__(self, order: Order, headers: Iterable[Header], progress: Progress, show: Show) -> None:
        ways = 2 if order.cycle else 1
        self._total = ways * sum(order.unit.tiles(header.height, header.width) for header in headers)
        self._done = 0
        self._progress = progress
        self._show = show

    def tell(self, more: int) -> None:
        self._done += more
        self._progress(self._done, self._total)

    def of(self, pixels: Pixels) -> Done:
        """What is told of the pieces of this image."""
        canvas = Canvas(pixels)

        def done(piece: Pixels, place: Place) -> None:
            canvas.put(piece, place)
            self._show(canvas.pixels)
            self.tell(1)

        return done


class _Pipeline:
    """What the photos of one request share: their share of the device, one thread at a time beside the loop, and the
    limit in pixels, `most`."""

    def __init__(self, runtime: Runtime, call: Call, order: Order, most: int, pieces: "_Pieces | None" = None) -> None:
        self._runtime = runtime
        self._call = call
        self._order = order
        self._pieces = pieces
        self._most = most
        self.flow = Flow(patient=call.is_job)
        self._turn = asyncio.Lock()

    async def look(self, upload: _Upload, header: Header) -> None:
        """Decodes a photo and its mask for nothing but what is wrong with them."""
        async with self._runtime.decoded.hold(header.height * header.width):
            await self._beside(self._read, upload)

    async def go(self, upload: _Upload, header: Header) -> Translated:
        order = self._order
        async with self._runtime.decoded.hold(header.height * header.width):
            photo, allowed = await self._beside(self._read, upload)
            pixels, mask = await self._image(photo.pixels, order.direction)
            if allowed is not None or order.strength < 1:
                pixels = await self._beside(blended, photo.pixels, pixels, allowed, order.strength)
            self._runtime.served("translate", order.model, [pixels], drift=f"{order.model}:{order.direction}")
            cycle_l1 = None
            if order.cycle:
                again, _ = await self._image(pixels, order.back)
                cycle_l1 = await self._beside(_distance, again, photo.pixels)
            done = await self._beside(_encode, self._runtime.writer, order, photo, pixels, cycle_l1)
            if order.shows_mask and mask is not None:
                done = dataclasses.replace(done, mask=await self._beside(mask_file, mask, allowed, order.strength))
            return done

    async def _beside(self, function: Callable[..., Result], *arguments: object) -> Result:
        async with self._turn:
            return await self._runtime.beside_the_loop(self._call, function, *arguments)

    async def _image(self, pixels: Pixels, direction: models.Direction) -> tuple[Pixels, Pixels | None]:
        done = self._pieces.of(pixels) if self._pieces is not None else None
        make = functools.partial(self._order.unit.masked, pixels, direction, self.flow, done)
        return await patience.let_in(self._call, make)

    def _read(self, upload: _Upload) -> tuple[Photo, Pixels | None]:
        """A photo, and the client's mask of it."""
        photo = read_photo(upload.photo, self._most, self._order.unit.network.channels)
        if photo.alpha is not None and self._order.kind == "jpeg":
            if photo.alpha.min() < 255:
                raise InputError(
                    f"{photo.name} is transparent, and JPEG is not: ask for png, webp or avif.", where="format"
                )
            photo = dataclasses.replace(photo, alpha=None)
        if upload.mask is None:
            return photo, None
        allowed = self._order.reads_mask(upload.mask, self._most)
        height, width = photo.pixels.shape[:2]
        _check_mask(allowed.shape == (height, width), upload.mask.name[:100], Header(photo.name, height, width))
        return photo, allowed


def _distance(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean()) / 255


def _encode(writer: Writer, order: Order, photo: Photo, pixels: Pixels, cycle_l1: float | None) -> Translated:
    if photo.alpha is not None:
        colour = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
        pixels = np.concatenate([colour, photo.alpha[..., None]], axis=2)
    pixels = pictures.resized(pixels, order.size)
    height, width, channels = pixels.shape
    icc = srgb() if photo.profiled and channels > 1 else None
    origin = dataclasses.replace(order.origin, photo=photo.digest)
    file = writer.image(pixels, order.kind, order.quality, origin, icc)
    return Translated(photo.name, height, width, cycle_l1, file, origin)

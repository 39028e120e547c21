"""Photos on their way through a translator, each for itself, so that few are decoded at once.

    headers ── checked ──> of each photo: room in the budget ── decode ── device ── encode ──> its file

Whatever headers can tell (sizes, what the format of the answer has room for, a full queue) is said before anything is
decoded, and so one photo does not lose the work on the others. A job, whose work is long, decodes all of them once
before it begins, one after the other, for what only their pixels can tell.
"""

import asyncio
import dataclasses
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

import models
from models.errors import InputError
from models.images import Pixels
from service.call import Call, File, Progress, Show
from service.encoding import pictures
from service.encoding.origin import Origin
from service.encoding.photos import Header, Photo, read_header, read_photo, srgb
from service.encoding.pictures import ImageFormat
from service.encoding.writer import Writer
from service.engine import patience
from service.engine.batcher import Flow
from service.engine.tiles import Canvas, Place
from service.engine.translator import Done, Translator
from service.runtime import Runtime

Result = TypeVar("Result")


@dataclass(frozen=True)
class Order:
    """What is wanted of each photo of a request, which is counted under the name `model`; the answer says `origin`."""

    model: str
    unit: Translator
    direction: models.Direction
    cycle: bool
    kind: ImageFormat
    quality: int
    origin: Origin
    size: tuple[int, int] | None = None  # (width, height) that the translations are resampled to

    @property
    def back(self) -> models.Direction:
        return "b_to_a" if self.direction == "a_to_b" else "a_to_b"


@dataclass(frozen=True)
class Translated:
    """A translation as a file; `cycle_l1` is the mean absolute difference of the round trip, 0..1."""

    name: str
    height: int
    width: int
    cycle_l1: float | None
    file: bytes
    origin: Origin


def direction_of(network: models.Translator, wanted: str, where: str = "direction") -> models.Direction:
    """From a_to_b, b_to_a or the name of the domain to translate to; raises InputError for the field `where`."""
    first, second = network.domains
    named: dict[str, models.Direction] = {"a_to_b": "a_to_b", "b_to_a": "b_to_a", first: "b_to_a", second: "a_to_b"}
    if wanted not in named or named[wanted] not in network.directions:
        raise InputError(
            f"This model has {first} (a) and {second} (b), and goes {' and '.join(network.directions)}; "
            f"direction is one of these, or the domain to translate to.",
            where=where,
        )
    return named[wanted]


async def translate_all(runtime: Runtime, call: Call, order: Order, files: list[File]) -> list[Translated]:
    """At once, so that images of one size meet in batches; for a job one by one, with patience for a full queue.

    Raises what `models.decode` does, InputError for transparency in a JPEG, LimitError for sizes, OverloadError.
    """
    most = runtime.settings.job_translate_pixels if call.is_job else runtime.settings.translate_pixels
    headers = await runtime.each(call, functools.partial(read_header, most=most), files)
    for header in headers:
        order.unit.check(header.height, header.width, header.name, most)
        models.check_sides(order.kind, header.height, header.width, header.name, "format")
    if call.progress is not None:
        pieces = _Pieces(order, headers, call.progress, call.show)
        pipeline = _Pipeline(runtime, call, order, most, pieces)
        return await _one_by_one(pipeline, pieces, list(zip(files, headers, strict=True)))
    pipeline = _Pipeline(runtime, call, order, most)
    sizes = [(header.height, header.width) for header in headers] * (2 if order.cycle else 1)
    with order.unit.let_in(pipeline.flow, sizes):
        tasks = [asyncio.create_task(pipeline.go(file, header)) for file, header in zip(files, headers, strict=True)]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:  # the first failure takes the others back
                task.cancel()


async def _one_by_one(pipeline: "_Pipeline", pieces: "_Pieces", photos: list[tuple[File, Header]]) -> list[Translated]:
    for file, header in photos:
        await pipeline.look(file, header)
    pieces.tell(0)
    return [await pipeline.go(file, header) for file, header in photos]


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

    async def look(self, file: File, header: Header) -> None:
        """Decodes a photo for nothing but what is wrong with it."""
        async with self._runtime.decoded.hold(header.height * header.width):
            await self._beside(self._read, file)

    async def go(self, file: File, header: Header) -> Translated:
        order = self._order
        async with self._runtime.decoded.hold(header.height * header.width):
            photo = await self._beside(self._read, file)
            pixels = await self._image(photo.pixels, order.direction)
            self._runtime.served("translate", order.model, [pixels], drift=f"{order.model}:{order.direction}")
            cycle_l1 = None
            if order.cycle:
                again = await self._image(pixels, order.back)
                cycle_l1 = await self._beside(_distance, again, photo.pixels)
            return await self._beside(_encode, self._runtime.writer, order, photo, pixels, cycle_l1)

    async def _beside(self, function: Callable[..., Result], *arguments: object) -> Result:
        async with self._turn:
            return await self._runtime.beside_the_loop(self._call, function, *arguments)

    async def _image(self, pixels: Pixels, direction: models.Direction) -> Pixels:
        done = self._pieces.of(pixels) if self._pieces is not None else None
        make = functools.partial(self._order.unit.image, pixels, direction, self.flow, done)
        return await (patience.patiently(make) if self._call.is_job else make())

    def _read(self, file: File) -> Photo:
        photo = read_photo(file, self._most, self._order.unit.network.channels)
        if photo.alpha is None or self._order.kind != "jpeg":
            return photo
        if photo.alpha.min() < 255:
            raise InputError(
                f"{photo.name} is transparent, and JPEG is not: ask for png, webp or avif.", where="format"
            )
        return dataclasses.replace(photo, alpha=None)


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

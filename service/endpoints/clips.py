"""Clips on their way through a translator, frame by frame, so that few are decoded at once.

    frames ── decode ──> device ──> steadied ──> what the client lets change ──> compressed

As many frames wait for the device as it takes at once; the next is decoded, and the last compressed, meanwhile.
"""

import asyncio
import dataclasses
from collections import deque
from collections.abc import Iterator

import models
from models import Animation, Video
from models.errors import InputError, LimitError
from models.images import Pixels
from service.encoding.animations import animation
from service.encoding.looks import ClipWriter, Look
from service.encoding.masks import blended
from service.encoding.photos import Header, Photo, read_frames, srgb
from service.encoding.steady import Steady
from service.encoding.videos import FilmWriter, check_video
from service.endpoints.orders import Order, Shared, Sound, Translated, Upload, allowed_of, with_alpha
from service.engine.translator import BLOCK

_SIDES = {"apng": "png"}  # whose limits a format has, where it has not its own
_Kind = Animation | Video
_Frame = tuple[Photo, float]  # and the milliseconds that it is shown


def check(order: Order, header: Header, kind: _Kind, most: int, is_job: bool) -> None:
    """Raises, of a clip whose header is read, LimitError for more than `most` pixels in all frames, or a side that the
    format has no room for; and InputError for what only a photo has."""
    if kind == "mp4" or kind == "webm":
        check_video(kind)
    if order.cycle or order.shows_mask:
        field = "cycle" if order.cycle else "mask"
        raise InputError(
            f"{header.name} is answered as a clip, of which there is no {field}: leave it out, or ask for format=png, "
            "which takes the first frame.",
            where=header.name,
        )
    models.check_sides(_SIDES.get(kind, kind), header.height, header.width, header.name, "format")
    frames = order.frames(header)
    if (pixels := frames * max(BLOCK, header.height * header.width)) > most:
        advice = "send a shorter or smaller one" if is_job else "submit a job, POST /v1/jobs/translate, or send less"
        raise LimitError(
            f"{header.name} has {frames:,} frames of {header.width} x {header.height}, {pixels:,} pixels where a frame "
            f"counts for {BLOCK:,} at least; at most {most:,} are translated here: {advice}.",
            where=header.name,
        )


async def look(shared: Shared, upload: Upload, header: Header) -> None:
    """Decodes the mask and all frames for nothing but what is wrong with them."""
    await shared.beside(allowed_of, upload, shared.order, shared.most, header)
    frames = read_frames(upload.photo, shared.most, shared.order.unit.network.channels)
    while await shared.beside(next, frames, None) is not None:
        pass


async def translated(shared: Shared, upload: Upload, header: Header, kind: _Kind) -> Translated:
    """The whole clip as a file of its size, timing and loop. Raises as `models.frames` and `order.reads_mask` do."""
    order = shared.order
    at_once = order.unit.at_once(header.height, header.width)
    pixels = header.height * header.width
    async with shared.runtime.decoded.hold((at_once + 2) * pixels):  # one more is decoded, and one compressed
        allowed = await shared.beside(allowed_of, upload, order, shared.most, header)
        clip = _Clip(shared, upload, header, kind, allowed)
        waiting: deque[tuple[_Frame, asyncio.Task[tuple[Pixels, Pixels | None]]]] = deque()
        frames: Iterator[_Frame] = read_frames(upload.photo, shared.most, order.unit.network.channels)
        try:
            while (frame := await shared.beside(next, frames, None)) is not None:
                waiting.append((frame, asyncio.create_task(shared.image(frame[0].pixels, order.direction))))
                if len(waiting) > at_once:
                    await clip.add(*waiting.popleft())
            while waiting:
                await clip.add(*waiting.popleft())
        finally:
            for _, task in waiting:
                task.cancel()
            await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)
        return await clip.file()


class _Clip:
    """The answer, as far as its frames are translated."""

    def __init__(self, shared: Shared, upload: Upload, header: Header, kind: _Kind, allowed: Pixels | None) -> None:
        self._shared = shared
        self._upload = upload
        self._header = header
        self._kind: _Kind = kind
        self._allowed = allowed
        self._steady = Steady()
        self._begun: tuple[ClipWriter, Look] | None = None

    async def add(self, frame: _Frame, task: "asyncio.Task[tuple[Pixels, Pixels | None]]") -> None:
        """Waits for the frame's translation, and compresses it."""
        pixels, _ = await task
        self._shared.count(pixels)
        await self._shared.beside(self._compress, *frame, pixels)

    def _compress(self, photo: Photo, duration_ms: float, pixels: Pixels) -> None:
        order = self._shared.order
        if self._begun is None:
            look = self._look(photo)
            self._begun = self._new_writer(look), look
        if order.frames(self._header) > 1:
            pixels = self._steady.steadied(photo.pixels, pixels)
        if self._allowed is not None or order.strength < 1:
            pixels = blended(photo.pixels, pixels, self._allowed, order.strength)
        self._begun[0].add(with_alpha(pixels, photo.alpha), duration_ms)

    def _new_writer(self, look: Look) -> ClipWriter:
        if self._kind == "mp4" or self._kind == "webm":
            return FilmWriter(self._kind, look, self._upload.photo.read() if self._keeps_sound else None)
        return animation(self._kind, look)

    @property
    def _keeps_sound(self) -> bool:
        motion = self._header.motion
        return self._header.has_sound and motion is not None and motion.kind == self._kind

    def _look(self, photo: Photo) -> Look:
        """By the first frame."""
        motion, order = self._header.motion, self._shared.order
        height, width = photo.pixels.shape[:2]
        origin = dataclasses.replace(order.origin, photo=photo.digest)
        plays = motion.plays if motion is not None else 1
        icc = srgb() if photo.profiled else None
        return Look(height, width, order.frames(self._header), plays, order.quality, origin, icc)

    async def file(self) -> Translated:
        assert self._begun is not None  # there is one frame at least
        writer, look = self._begun
        file = await self._shared.beside(writer.close)
        signed = await self._shared.beside(self._shared.runtime.writer.clip, file, self._kind, look.origin)
        kept = isinstance(writer, FilmWriter) and writer.keeps_sound
        sound: Sound | None = ("kept" if kept else "dropped") if self._header.has_sound else None
        return Translated(
            self._header.name, look.height, look.width, None, signed, look.origin, self._kind, look.frames, sound
        )

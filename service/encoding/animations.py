"""Pictures that move, written as their frames come: GIF, animated WebP and APNG.

Pillow writes all three too, of frames that are all in memory. Here each frame is compressed at once, and of each only
what it changes: pixels that are as they were are left out by transparency. So what stands still is the same level for
level in all frames, though each has a palette of its own (GIF) or loses something (WebP).
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
from PIL import GifImagePlugin, Image

from models import Animation
from models.errors import LimitError
from models.images import Pixels
from models.origin import Origin
from service.encoding import png
from service.encoding.looks import ClipWriter, Look, check_bytes


@dataclass(frozen=True)
class Patch:
    """What a frame changes of the one before, from (left, top) on, both even: uint8 [h, w, 4]; what is transparent
    stays. A `whole` one takes the place of what was shown instead."""

    left: int
    top: int
    pixels: Pixels
    whole: bool


class _Format(Protocol):
    """How a kind of file holds patches, and what stands around them. After a patch that is `cleared`, nothing is shown
    any more; only GIF has to be told, which cannot put a frame in the place of another."""

    def put(self, patch: Patch, duration_ms: float, cleared: bool) -> bytes: ...
    def file(self, patches: bytes) -> bytes: ...


def animation(kind: Animation, look: Look) -> ClipWriter:
    """Raises LimitError, from `add`, for a file of more than MOST_BYTES, or a frame longer than the format allows."""
    formats: dict[Animation, type[_Gif] | type[_WebP] | type[_Apng]] = {"gif": _Gif, "webp": _WebP, "apng": _Apng}
    return _Animator(formats[kind](look))


def animate(pixels: Pixels, kind: Animation, frame_ms: int, quality: int, origin: Origin) -> bytes:
    """An endless animation of uint8 [n, h, w, c], n at least 1, each shown for `frame_ms`. Raises as `animation`."""
    count, height, width, _ = pixels.shape
    writer = animation(kind, Look(height, width, count, 0, quality, origin))
    for one in pixels:
        writer.add(one, frame_ms)
    return writer.close()


class _Animator:
    """Holds each frame until the next one comes, since the next may have to find nothing in its place."""

    def __init__(self, form: _Format) -> None:
        self._form = form
        self._parts: list[bytes] = []
        self._bytes = 0
        self._held: tuple[Pixels, float] | None = None
        self._shown: Pixels | None = None  # opaque, where it is there

    def add(self, pixels: Pixels, duration_ms: float) -> None:
        frame = _rgba(pixels)
        if self._held is not None:
            self._put(*self._held, cleared=not _opaque(frame))
        self._held = frame, duration_ms

    def close(self) -> bytes:
        assert self._held is not None
        self._put(*self._held, cleared=False)
        return self._form.file(b"".join(self._parts))

    def _put(self, frame: Pixels, duration_ms: float, cleared: bool) -> None:
        patch = _whole(frame) if self._shown is None or cleared or not _opaque(frame) else _changes(self._shown, frame)
        self._shown = None if cleared or not _opaque(frame) else frame
        part = self._form.put(patch, duration_ms, cleared)
        self._parts.append(part)
        self._bytes += len(part)
        check_bytes(self._bytes, "ask for webp, or send less")


def _rgba(pixels: Pixels) -> Pixels:
    height, width, channels = pixels.shape
    if channels == 4:
        return pixels
    whole = np.full((height, width, 4), 255, np.uint8)
    whole[..., :3] = pixels
    return whole


def _opaque(frame: Pixels) -> bool:
    return bool(frame[..., 3].min() == 255)


def _whole(frame: Pixels) -> Patch:
    return Patch(0, 0, frame, whole=True)


def _changes(shown: Pixels, frame: Pixels) -> Patch:
    """The smallest box that holds all that differs, of opaque frames; where nothing does, a pixel that is left out."""
    changed = (shown != frame).any(axis=2)
    if not changed.any():
        return Patch(0, 0, np.zeros((1, 1, 4), np.uint8), whole=False)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    top, left = int(rows[0]) // 2 * 2, int(columns[0]) // 2 * 2  # WebP has room for even ones alone
    box = np.s_[top : rows[-1] + 1, left : columns[-1] + 1]
    return Patch(left, top, np.where(changed[box][..., None], frame[box], 0).astype(np.uint8), whole=False)


class _Ticks:
    """Durations in whole ticks whose ends lie as near as can be to where they were, so that no error adds up."""

    def __init__(self, tick_ms: int, most: int, name: str) -> None:
        self._tick_ms, self._most, self._name = tick_ms, most, name
        self._end_ms, self._told = 0.0, 0

    def of(self, duration_ms: float) -> int:
        self._end_ms += duration_ms
        ticks = round(self._end_ms / self._tick_ms) - self._told
        self._told += ticks
        if ticks > self._most:
            seconds = self._most * self._tick_ms // 1000
            raise LimitError(f"A frame of {self._name} is shown for {seconds:,} s at most.", where="format")
        return ticks


class _Gif:
    """GIF 89a. It has no levels of transparency: what is at least half opaque is shown."""

    _CLEAR = 255  # the colour that is transparent

    def __init__(self, look: Look) -> None:
        self._look = look
        self._ticks = _Ticks(10, 65_535, "GIF")

    def put(self, patch: Patch, duration_ms: float, cleared: bool) -> bytes:
        shown = patch.pixels[..., 3] > 127
        indices = np.full(shown.shape, self._CLEAR, np.uint8)
        palette: list[int] = []
        if shown.any():
            row = Image.fromarray(np.ascontiguousarray(patch.pixels[shown][None, :, :3]))
            few = row.quantize(self._CLEAR, dither=Image.Dither.NONE)  # dithering would make what is still flicker
            indices[shown] = np.asarray(few)[0]
            palette = few.getpalette() or []
        image = Image.fromarray(indices, "P")
        image.putpalette([*palette, *[0] * (768 - len(palette))])
        about = {"duration": 10 * self._ticks.of(duration_ms), "disposal": 2 if cleared else 1}
        offset = (patch.left, patch.top)
        data = GifImagePlugin.getdata(image, offset, **about, transparency=self._CLEAR, include_color_table=True)
        return b"".join(data)

    def file(self, patches: bytes) -> bytes:
        look = self._look
        head = b"GIF89a" + struct.pack("<HHBBB", look.width, look.height, 0x70, 0, 0)
        again = min(look.plays - 1, 65_535) if look.plays else 0
        loop = b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", again, 0) if look.plays != 1 else b""
        return look.origin.into_gif(head + loop + patches + b";")


class _WebP:
    """The container of WebP (RFC 9649, 2.7): a picture for each patch, without what stands around it in a file."""

    _PICTURE = (b"ALPH", b"VP8 ", b"VP8L")
    _ICC, _ALPHA, _XMP, _ANIMATED = 0x20, 0x10, 0x04, 0x02

    def __init__(self, look: Look) -> None:
        self._look = look
        self._ticks = _Ticks(1, 2**24 - 1, "WebP")

    def put(self, patch: Patch, duration_ms: float, cleared: bool) -> bytes:
        height, width = patch.pixels.shape[:2]
        channels = 3 if _opaque(patch.pixels) else 4
        buffer = io.BytesIO()
        image = Image.fromarray(np.ascontiguousarray(patch.pixels[..., :channels]))
        image.save(buffer, "WEBP", quality=self._look.quality)
        picture = b"".join(_riff(name, data) for name, data in _chunks(buffer.getvalue()) if name in self._PICTURE)
        numbers = (patch.left // 2, patch.top // 2, width - 1, height - 1, self._ticks.of(duration_ms))
        head = b"".join(_three_bytes(number) for number in numbers) + (b"\2" if patch.whole else b"\0")
        return _riff(b"ANMF", head + picture)

    def file(self, patches: bytes) -> bytes:
        look = self._look
        flags = self._ALPHA | self._XMP | self._ANIMATED | (self._ICC if look.icc else 0)
        sides = _three_bytes(look.width - 1) + _three_bytes(look.height - 1)
        parts = [
            _riff(b"VP8X", struct.pack("<I", flags) + sides),
            *([_riff(b"ICCP", look.icc)] if look.icc else []),
            _riff(b"ANIM", struct.pack("<IH", 0, min(look.plays, 65_535))),
            patches,
            _riff(b"XMP ", look.origin.packet()),
        ]
        return _riff(b"RIFF", b"WEBP" + b"".join(parts))


def _three_bytes(number: int) -> bytes:
    return number.to_bytes(3, "little")


def _riff(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def _chunks(webp: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at < len(webp):
        name, size = struct.unpack_from("<4sI", webp, at)
        yield name, webp[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


class _Apng:
    """PNG's chunks of animation (PNG, third edition, 11.3.6)."""

    _KEEP, _SOURCE, _OVER = 0, 0, 1

    def __init__(self, look: Look) -> None:
        self._look = look
        self._number = 0  # of the next chunk of animation

    def put(self, patch: Patch, duration_ms: float, cleared: bool) -> bytes:
        height, width = patch.pixels.shape[:2]
        first = self._number == 0
        seconds = _seconds(duration_ms)
        how = (*seconds.as_integer_ratio(), self._KEEP, self._SOURCE if patch.whole else self._OVER)
        control = struct.pack(">5I2H2B", self._next(), width, height, patch.left, patch.top, *how)
        pixels = png.packed(patch.pixels)
        if first:
            return png.chunk(b"fcTL", control) + png.chunk(b"IDAT", pixels)
        return png.chunk(b"fcTL", control) + png.chunk(b"fdAT", struct.pack(">I", self._next()) + pixels)

    def file(self, patches: bytes) -> bytes:
        look = self._look
        before = png.head(look.height, look.width, 4, look.origin.text, look.icc, look.origin.packet())
        control = png.chunk(b"acTL", struct.pack(">II", look.frames, look.plays))
        return b"".join((*before, control, patches, png.END))

    def _next(self) -> int:
        self._number += 1
        return self._number - 1


def _seconds(duration_ms: float) -> Fraction:
    """As two numbers of 16 bits; raises LimitError for more than they hold."""
    seconds = Fraction(duration_ms / 1000)
    if seconds > 65_535:
        raise LimitError("A frame of APNG is shown for 65,535 s at most.", where="format")
    return seconds.limit_denominator(max(1, min(10_000, int(65_535 / max(seconds, Fraction(1, 10_000))))))

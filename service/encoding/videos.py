"""MP4 and WebM through PyAV, FFmpeg's libraries for Python: an optional package, loaded when the first video comes.

A video is read from memory, by the two demuxers and the few decoders that its kinds need, and written frame by frame:
H.264 in MP4, VP9 in WebM. Its sound is copied packet by packet into a file of the same kind; another kind has none.
"""

import importlib
import importlib.util
import io
import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from models import FORMAT_NAMES, Motion, Video, coded_as
from models.errors import BrokenImageError, GanError, ImageError, InputError, LimitError
from models.images import Pixels
from service.encoding.looks import Look, check_bytes

_DEMUXERS = {"mp4": "mov", "webm": "matroska"}
_READ = ("h264", "hevc", "av1", "vp8", "vp9", "mpeg4")
_SOUND = {"mp4": ("aac", "mp3", "opus", "ac3", "flac", "alac"), "webm": ("opus", "vorbis")}
_MOST_FRAMES = 2**17  # that are counted; at 64 x 64 they are more pixels than a job takes
_TICKS = 90_000  # of a second, in which times are written: frame rates of film, PAL and NTSC are whole numbers of them
_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # the box of a packet in an MP4 (XMP, part 3, 1.2.7)


def video_of(head: bytes) -> Video | None:
    """What kind of video a file begins as, whatever it is called."""
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "webm"
    return "mp4" if head[4:8] == b"ftyp" and coded_as(head) is None else None


def check_video(kind: Video) -> None:
    """Raises InputError where this kind cannot be written."""
    if importlib.util.find_spec("av") is None:
        raise InputError(
            f"{FORMAT_NAMES[kind]} is written only where PyAV is installed (pip install av, or in the container "
            "--build-arg EXTRAS=av): ask for gif, webp or apng.",
            where="format",
        )


@dataclass(frozen=True)
class Film:
    """What a video's header says: its frames, upright, and whether it has sound."""

    height: int
    width: int
    motion: Motion
    has_sound: bool


def read_film(data: bytes, kind: Video, name: str, most: int) -> Film:
    """Counts the frames, and decodes the first, for how it is turned.

    Raises ImageError for what is not read here, LimitError for more than `most` pixels a frame, BrokenImageError.
    """
    with _Opened(data, kind, name) as video, video.told(name):
        _check(video.stream, name, most)
        if kind == "webm" and not _whole_webm(data):
            raise BrokenImageError(f"{name} is truncated: its end is missing.", where=name)
        packets = itertools.islice(video.container.demux(video.stream), _MOST_FRAMES + 1)
        count = sum(packet.size > 0 for packet in packets)
        if count < min(video.stream.frames, _MOST_FRAMES):
            raise BrokenImageError(f"{name} is truncated: {video.stream.frames:,} frames are announced.", where=name)
        has_sound = bool(video.container.streams.audio)
    first = next(read_film_frames(data, kind, name, most), None)
    if first is None:
        raise ImageError(f"{name} is a video without a frame.", where=name)
    height, width = first[0].shape[:2]
    return Film(height, width, Motion(kind, count, 0), has_sound)


def read_film_frames(data: bytes, kind: Video, name: str, most: int) -> Iterator[tuple[Pixels, float]]:
    """Each frame, upright, uint8 [h, w, 3], with the milliseconds until the next.

    Raises as `read_film`, naming the frame, and ImageError for one of another size than the first.
    """
    with _Opened(data, kind, name) as video:
        stream = video.stream
        _check(stream, name, most)
        stream.codec_context.thread_count = 1  # whoever calls has threads of their own
        stream.codec_context.options = {"err_detect": "explode"}  # an error, in place of a frame that hides one
        usual = 1000 / float(stream.average_rate or stream.guessed_rate or 25)
        held: tuple[Pixels, float] | None = None
        size: tuple[int, int] | None = None
        frames = iter(video.container.decode(stream))
        for number in itertools.count(1):
            where = f"Frame {number} of {name}"
            with video.told(where):
                frame = next(frames, None)
                if frame is None:
                    break
                size = size or (frame.width, frame.height)
                if (frame.width, frame.height) != size:
                    raise ImageError(f"{where} is of another size than the first: save it anew.", where=name)
                pixels = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                shown = float(frame.time) * 1000 if frame.time is not None else (number - 1) * usual
            if held is not None:
                yield held[0], max(0.0, shown - held[1])
            held = np.ascontiguousarray(pixels), shown
        if held is not None:
            yield held[0], usual


def _whole_webm(data: bytes) -> bool:
    """Whether all of the segment, which says its size (RFC 8794, 4 and 6), is there; streams that say none are."""
    at = 4
    for _ in range(2):  # the header's size and, four bytes of an identifier after its end, the segment's
        length = 9 - data[at].bit_length()
        size = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
        at += length + size + 4
    return size == (1 << 7 * length) - 1 or at - 4 <= len(data)


def _check(stream: Any, name: str, most: int) -> None:
    if stream.codec_context.name not in _READ and stream.codec_context.codec.canonical_name not in _READ:
        raise ImageError(f"{name} holds {stream.codec_context.name}, which is not read: save it as H.264.", where=name)
    if stream.width * stream.height > most:
        raise LimitError(
            f"{name} has frames of {stream.width} x {stream.height} pixels; at most {most:,} are accepted.", where=name
        )


class _Opened:
    """A video in memory, whose errors of any kind are the file's."""

    def __init__(self, data: bytes, kind: Video, name: str) -> None:
        if importlib.util.find_spec("av") is None:
            raise ImageError(
                f"{name} is {FORMAT_NAMES[kind]}, which is read only where PyAV is installed (pip install av, or in "
                "the container --build-arg EXTRAS=av): save it as GIF, WebP or APNG.",
                where=name,
            )
        self._av = importlib.import_module("av")
        self._data, self._kind, self._name = data, kind, name

    def __enter__(self) -> "_Opened":
        with self.told(self._name):
            self.container: Any = self._av.open(io.BytesIO(self._data), format=_DEMUXERS[self._kind])
        if not self.container.streams.video:
            self.container.close()
            raise ImageError(f"{self._name} is a video without pictures.", where=self._name)
        self.stream: Any = self.container.streams.video[0]
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    def told(self, where: str) -> "_Told":
        return _Told(where, self._name)


class _Told:
    """Whatever FFmpeg stumbles over in the block is a BrokenImageError that says `where`."""

    def __init__(self, where: str, name: str) -> None:
        self._where, self._name = where, name

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, GanError):
            said = str(error)[:200]
            raise BrokenImageError(f"{self._where} is truncated or corrupt: {said}.", where=self._name) from error


class FilmWriter:
    """A video of frames that are shown for as long as they are told; in MP4, odd sides get one more pixel."""

    def __init__(self, kind: Video, look: Look, sound: bytes | None) -> None:
        """`sound`: the video of the same kind whose sound is copied."""
        self._av = importlib.import_module("av")
        self._kind, self._look = kind, look
        self._step = 2 if kind == "mp4" else 1  # that sides are multiples of: H.264 halves the colours' size
        self._out = io.BytesIO()
        self._container = self._av.open(self._out, "w", format=kind)
        self._stream: Any = None
        if kind == "webm":
            self._container.metadata["XMP"] = look.origin.packet().decode()
        self._sound = _Sound(sound, kind, self._container) if sound is not None else None
        self._end_ms = 0.0
        self._last = -1

    def _pictures(self, first_ms: float) -> Any:
        """The stream of pictures, whose nominal rate is that of the first frame. Neither encoder holds frames back, so
        that none is in memory that the budget of decoded pixels does not know of."""
        crf = {"crf": str(round(51 - 0.37 * self._look.quality))}  # 18 of quality 90, 14 of 100
        rate = Fraction(1000 / first_ms if first_ms else 25).limit_denominator(1001)
        if self._kind == "mp4":
            fast = {"preset": "veryfast", "tune": "zerolatency"}
            stream = self._container.add_stream("libx264", rate, options={**crf, **fast})
        else:
            fast = {"b:v": "0", "deadline": "realtime", "cpu-used": "6", "lag-in-frames": "0"}
            stream = self._container.add_stream("libvpx-vp9", rate, options={**crf, **fast})
        look = self._look
        stream.width, stream.height = look.width + look.width % self._step, look.height + look.height % self._step
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, _TICKS)
        return stream

    @property
    def keeps_sound(self) -> bool:
        return self._sound is not None and self._sound.is_copied

    def add(self, pixels: Pixels, duration_ms: float) -> None:
        self._stream = self._stream or self._pictures(duration_ms)
        colour = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[..., :3]
        height, width = colour.shape[:2]
        padded = np.pad(colour, ((0, height % self._step), (0, width % self._step), (0, 0)), mode="edge")
        frame = self._av.VideoFrame.from_ndarray(padded, format="rgb24")
        self._last = max(self._last + 1, round(self._end_ms * _TICKS / 1000))  # no two at one time
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        self._end_ms += duration_ms
        self._container.mux(self._stream.encode(frame))
        if self._sound is not None:
            self._sound.until(self._end_ms / 1000)
        check_bytes(self._out.tell(), "send less")

    def close(self) -> bytes:
        self._container.mux(self._stream.encode())
        if self._sound is not None:
            self._sound.close()
        self._container.close()
        file = self._out.getvalue()
        if self._kind == "mp4":
            packet = self._look.origin.packet()
            file += struct.pack(">I4s", 24 + len(packet), b"uuid") + _XMP + packet
        return file


class _Sound:
    """The first sound of a video, on its way into another as it is."""

    def __init__(self, data: bytes, kind: Video, container: Any) -> None:
        self._input = importlib.import_module("av").open(io.BytesIO(data), format=_DEMUXERS[kind])
        self._container = container
        self._packets: Iterator[Any] = iter(())
        self._next: Any = None
        streams = [one for one in self._input.streams.audio if one.codec_context.name in _SOUND[kind]]
        self.is_copied = bool(streams)
        if streams:
            self._stream = container.add_stream_from_template(streams[0])
            self._packets = (packet for packet in self._input.demux(streams[0]) if packet.dts is not None)
            self._next = next(self._packets, None)

    def until(self, seconds: float) -> None:
        """Copies what is heard until then."""
        while self._next is not None and float(self._next.dts * self._next.time_base) < seconds:
            self._next.stream = self._stream
            self._container.mux(self._next)
            self._next = next(self._packets, None)

    def close(self) -> None:
        self._input.close()

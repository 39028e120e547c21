"""From a file to an image: what Pillow reads, within limits, and every failure a sentence.

A file is hostile until it is an image in memory. So all of Pillow's reading happens inside `opened`, which turns
whatever a plugin raises, of whatever type, into one of our errors. What comes out is 8 bits deep, of the few modes that
`plain` names, and holds nothing of the file but its pixels and its metadata.
"""

import contextlib
import io
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from models.errors import BrokenImageError, GanError, ImageError, LimitError
from models.images import plain

try:
    import pillow_heif
except ImportError:
    _HEIF: tuple[str, ...] = ()
else:  # an optional package: HEIC is HEVC, which has patents on it
    pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
    _HEIF = ("HEIF",)

_PLUGINS = (  # each registers itself in Image.OPEN when it is imported
    PngImagePlugin,
    JpegImagePlugin,
    WebPImagePlugin,
    GifImagePlugin,
    BmpImagePlugin,
    TiffImagePlugin,
    PpmImagePlugin,
    AvifImagePlugin,
)
ACCEPTED = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", *_HEIF)
MAX_PIXELS = 50_000_000
MAX_SCANS = 100
"""Passes over a progressive JPEG: encoders write some ten. libtiff has the same bound for the JPEGs inside of TIFFs."""
MAX_SECONDS = 1.0
"""Of the reading thread's processor time, for a file, and as much again for every _SECOND_OF_PIXELS and every
_SECOND_OF_FRAMES. Pillow reads what
stands around the pixels in Python, piece by piece, and any format can have millions of them: frames, chunks, comments,
padding. The pixels themselves take a fifth of what they are given.
"""
_SECOND_OF_PIXELS = 12_500_000
_SECOND_OF_FRAMES = 1000
MAX_COMMENTS = 1000
"""Comments in a PNM of plain text: Pillow copies all that follows for each of them."""
MAX_TEXT = 16 << 20
"""Bytes of one text chunk or colour profile of a PNG, unpacked."""

# Pillow's 1 MiB is less than the profile of a scanner or the history of Photoshop; it has this one knob for them.
PngImagePlugin.MAX_TEXT_CHUNK = MAX_TEXT
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # of one picture, read or written; whoever calls has threads of their own


def decode(
    source: bytes | Path,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    formats: tuple[str, ...] = ACCEPTED,
) -> Image.Image:
    """Decodes one image wholly, to a mode of `plain`; of an animation, the first frame.

    EXIF rotation is not applied (see `upright`). Arguments and errors are those of `opened`.
    """
    with opened(source, name=name, max_pixels=max_pixels, formats=formats) as file:
        return decoded(file)


def decoded(file: ImageFile.ImageFile) -> Image.Image:
    """The picture that an opened file stands at, wholly, in a mode of `plain`."""
    rawmode = _rawmode(file)
    file.load()
    return plain(_full_range(file, rawmode))


@contextlib.contextmanager
def opened(
    source: bytes | Path,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    formats: tuple[str, ...] = ACCEPTED,
) -> Iterator[ImageFile.ImageFile]:
    """The file with its header read and held against the limits, for whatever of Pillow is to be asked of it.

    Args:
        source: the file's bytes, or its path.
        name: what to call it in an error; by default the path's name, or "image".
        max_pixels: width x height, checked on the header before anything is decoded.
        formats: Pillow format names to accept.
    Raises:
        ImageError: empty, of no accepted kind, or of floating point pixels, for which no file tells a range.
        BrokenImageError: truncated or corrupt, whether that shows here or inside of the block.
        LimitError: more than `max_pixels`, a JPEG of more than MAX_SCANS passes, a PNM of more than
            MAX_COMMENTS, or more than MAX_SECONDS of work.
        OSError: the path cannot be read.
    """
    with timed(source, name=name, max_pixels=max_pixels, formats=formats) as (file, _):
        yield file


@contextlib.contextmanager
def timed(
    source: bytes | Path,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    formats: tuple[str, ...] = ACCEPTED,
) -> Iterator[tuple[ImageFile.ImageFile, "Clock"]]:
    """`opened`, with the clock of the time that reading it may take."""
    name = name or (source.name if isinstance(source, Path) else "image")
    data = source.read_bytes() if isinstance(source, Path) else source
    if not data:
        raise ImageError(f"{name} is empty (0 bytes): send a whole image file.", where=name)
    # `Image.open` would do the same, but takes a plugin's SyntaxError for "not mine", and its own limit of pixels is a
    # global, half of it a warning.
    plugin = next((Image.OPEN[kind] for kind in formats if _is_of(kind, data[:HEAD])), None)
    if plugin is None and coded_as(data[:HEAD]) == "HEIF" and not _HEIF:
        raise ImageError(
            f"{name} is HEIC, which is read only where pillow-heif is installed (pip install pillow-heif): "
            "save it as JPEG, PNG or AVIF.",
            where=name,
        )
    if plugin is None:
        raise ImageError(f"{name} is not an image of an accepted kind ({', '.join(formats)}).", where=name)
    try:
        clock = Clock(name)
        with plugin[0](_Timed(data, clock), name) as file:
            _check(file, data, name, max_pixels)
            clock.give_for(file.size)
            yield file, clock
    except GanError as error:
        error.where = error.where or name
        raise
    except Image.DecompressionBombError as error:
        raise LimitError(f"{name} has more pixels than are accepted: {error}.", where=name) from error
    except Exception as error:  # whatever a decoder stumbles over is the file's fault
        said = str(error)[:200] or type(error).__name__
        if said.startswith(("unknown pixel mode", "unknown raw mode")):
            raise ImageError(f"{name} has pixels of a kind that is not read; save 8 or 16 bits.", where=name) from error
        raise BrokenImageError(f"{name} is truncated or corrupt: {said}.", where=name) from error


class Clock:
    """The processor time that is left for reading one file, by the threads that read it, one after the other."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._end = time.thread_time() + MAX_SECONDS

    def give_for(self, size: tuple[int, int], frames: int = 1) -> None:
        """So much more, for frames of (width, height)."""
        self._end += MAX_SECONDS * frames * (size[0] * size[1] / _SECOND_OF_PIXELS + 1 / _SECOND_OF_FRAMES)

    def check(self) -> None:
        """Raises LimitError where it is used up."""
        if time.thread_time() > self._end:
            raise LimitError(f"{self._name} is in too many pieces to be read; save it anew.", where=self._name)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """While the block does other work, which may end on another thread."""
        left = self._end - time.thread_time()
        try:
            yield
        finally:
            self._end = time.thread_time() + left


class _Timed(io.BytesIO):
    """The bytes of a file, read for so long and no longer: every loop of Pillow's over its pieces reads them here."""

    def __init__(self, data: bytes, clock: Clock) -> None:
        super().__init__(data)
        self._clock = clock

    def read(self, size: int | None = -1) -> bytes:
        self._clock.check()
        return super().read(size)


HEAD = 64  # bytes in which every image says its kind
_BRANDS = {
    "AVIF": frozenset((b"avif", b"avis")),
    "HEIF": frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")),
}


def coded_as(head: bytes) -> str | None:
    """AVIF or HEIF, of a file in the box format that both have (ISO 14496-12, 4.3): by how its pictures are coded.

    The brand that comes first may be one that they share (mif1), so all of them count.
    """
    if head[4:8] != b"ftyp":
        return None
    box = head[: int.from_bytes(head[:4], "big")]
    brands = {box[8:12], *(box[start : start + 4] for start in range(16, len(box), 4))}
    return next((kind for kind, known in _BRANDS.items() if brands & known), None)


def _is_of(kind: str, head: bytes) -> bool:
    if kind in _BRANDS:
        return coded_as(head) == kind
    accept = Image.OPEN[kind][1]
    return accept is not None and accept(head) is True


def _check(file: ImageFile.ImageFile, data: bytes, name: str, max_pixels: int) -> None:
    if file.width * file.height > max_pixels:
        raise LimitError(
            f"{name} has {file.width} x {file.height} pixels; at most {max_pixels:,} are accepted.", where=name
        )
    if data.startswith(b"\xff\xd8") and _scans(data) > MAX_SCANS:
        raise LimitError(f"{name} goes over its pixels more than {MAX_SCANS} times; save it anew.", where=name)
    if data.startswith((b"P1", b"P2", b"P3")) and data.count(b"#") > MAX_COMMENTS:
        raise LimitError(f"{name} has more than {MAX_COMMENTS} comments; save it anew.", where=name)
    if file.mode == "F" or _rawmode(file) in _SIGNED:
        kind = "floating point" if file.mode == "F" else "signed"
        raise ImageError(f"{name} has {kind} pixels, whose range no file tells; save 8 or 16 bits.", where=name)
    if isinstance(file, TiffImagePlugin.TiffImageFile) and not _readable_planes(file):
        raise ImageError(f"{name} holds each colour in a plane of its own; save it interleaved.", where=name)


def _readable_planes(file: TiffImagePlugin.TiffImageFile) -> bool:
    """Of values in planes apart (TIFF's PlanarConfiguration 2), Pillow takes all for bytes, and for what it knows."""
    tags = file.tag_v2
    if tags.get(TiffImagePlugin.PLANAR_CONFIGURATION) != 2:
        return True
    in_bytes = set(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) == {8}
    alpha = tags.get(TiffImagePlugin.EXTRASAMPLES, ()) in ((), (2,))  # none, or not multiplied into the colours
    return in_bytes and alpha and tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) != 0  # white is zero


_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a segment: TEM, RST0 to RST7, SOI


def _scans(data: bytes) -> int:
    """How many scans a JPEG (ITU-T T.81, annex B) has, or MAX_SCANS + 1 where there are more.

    Each costs a pass over all pixels, and a file may repeat its last one for ever, in a few bytes each.
    """
    if data.count(b"\xff\xda") <= MAX_SCANS:  # which counts those inside of metadata too
        return 0
    scans, at = 0, 2
    while scans <= MAX_SCANS and (found := _MARKER.search(data, at)):
        marker, at = found[1][0], found.end()
        if marker == 0xD9:  # the end of the image; what follows is somebody else's
            break
        if marker not in _ALONE:
            scans += marker == 0xDA
            at += int.from_bytes(data[at : at + 2], "big")
    return scans


_SIGNED = ("I;16S", "I;16BS", "I;32S", "I;32BS")  # Pillow's names for how a file holds its pixels
_SCALES = {"L;2": 85, "L;4": 17}


def _rawmode(file: ImageFile.ImageFile) -> str:
    """How the file holds its pixels, in Pillow's words; known until they are loaded."""
    arguments = file.tile[0][3] if file.tile else None
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _full_range(file: ImageFile.ImageFile, rawmode: str) -> Image.Image:
    """The image with its grey levels from 0, black, to the most its mode holds, where Pillow leaves them otherwise."""
    key = file.info.get("transparency")
    if rawmode in _SCALES and isinstance(key, int):  # it scales the pixels, and not the grey that is transparent
        file.info["transparency"] = key * _SCALES[rawmode]
    if not rawmode.startswith("I;") or not isinstance(file, TiffImagePlugin.TiffImageFile):
        return file
    levels = np.asarray(file)
    if rawmode == "I;32N":
        levels = (levels.view(np.uint32) >> 16).astype(np.uint16)
    if rawmode == "I;12":
        levels = levels << 4 | levels >> 8
    if file.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:  # white is zero
        levels = 65535 - levels
    image = Image.fromarray(levels.astype(np.uint16))
    image.info = dict(file.info)
    return image


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says, and without EXIF; one whose EXIF cannot be read stays as it is.

    Not `ImageOps.exif_transpose`, which writes the other tags again and fails where one of them is odd.
    """
    try:
        method = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # EXIF is a small file format of its own; its errors say nothing about the pixels
        return image
    if method is None:
        return image
    turned = image.transpose(method)
    for key in ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"):  # where an orientation may stand
        turned.info.pop(key, None)
    return turned


def read_text(data: bytes) -> dict[str, str]:
    """The text chunks of a PNG; raises as `opened` does for anything else."""
    with opened(data, formats=("PNG",)) as file:
        file.load()
        return {str(key): str(value) for key, value in getattr(file, "text", {}).items()}

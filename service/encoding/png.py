"""PNG (RFC 2083) written quickly: a third of the time of Pillow's lightest setting.

Pillow tries five filters on every row. One filter for all rows does nearly as well on pictures (files came out a little
smaller at 64 and 256 px, a seventh larger at 32 px), and then zlib has little to find but runs: its run-length strategy
takes half the time of its level 1.
"""

import struct
import zlib
from collections.abc import Mapping

import numpy as np

from models.errors import InputError
from models.images import Pixels

_COLOUR = {1: 0, 3: 2, 4: 6}  # channels -> colour type
_UP = 2  # the filter: each row is its difference from the one above


def encode(
    pixels: Pixels, text: Mapping[str, str] | None = None, icc: bytes | None = None, xmp: bytes | None = None
) -> bytes:
    """One PNG of uint8 [h, w, c], c = 1 (grey), 3 (RGB) or 4 (RGBA), with a colour profile, XMP and text chunks.

    Raises InputError for any other shape.
    """
    if pixels.ndim != 3 or pixels.shape[2] not in _COLOUR or 0 in pixels.shape:
        raise InputError(f"An image to encode is uint8 [h, w, 1, 3 or 4], not {list(pixels.shape)}.")
    height, width, channels = pixels.shape
    parts = [*head(height, width, channels, text, icc, xmp), chunk(b"IDAT", packed(pixels)), END]
    return b"".join(parts)


def head(
    height: int,
    width: int,
    channels: int,
    text: Mapping[str, str] | None = None,
    icc: bytes | None = None,
    xmp: bytes | None = None,
) -> list[bytes]:
    """What stands before the pixels: the signature, and chunks."""
    return [
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _COLOUR[channels], 0, 0, 0)),
        *([chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc))] if icc else []),
        *([chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)] if xmp else []),
        *(_text(key, value) for key, value in (text or {}).items()),
    ]


def packed(pixels: Pixels) -> bytes:
    """The rows of uint8 [h, w, c], filtered and compressed, as IDAT and fdAT hold them."""
    height, width, channels = pixels.shape
    lines = pixels.reshape(height, width * channels)
    rows = np.empty((height, 1 + width * channels), np.uint8)
    rows[:, 0] = _UP
    rows[0, 1:] = lines[0]
    np.subtract(lines[1:], lines[:-1], out=rows[1:, 1:])  # modulo 256, as the format wants it
    packer = zlib.compressobj(1, zlib.DEFLATED, strategy=zlib.Z_RLE)
    return packer.compress(rows.data) + packer.flush()


def _text(key: str, value: str) -> bytes:
    if value.isascii():
        return chunk(b"tEXt", f"{key}\0{value}".encode("ascii"))
    return chunk(b"iTXt", f"{key}\0\0\0\0\0{value}".encode())  # UTF-8: not compressed, no language, no translated key


def chunk(kind: bytes, data: bytes) -> bytes:
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))))


END = chunk(b"IEND", b"")

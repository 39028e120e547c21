"""Every mode and depth that Pillow opens, held against a plain 8-bit picture of the same."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

import models
from models import BrokenImageError, ImageError

GREYS = (0, 85, 170, 255)  # levels that 1 (two of them), 2, 4, 8, 12 and 16 bits all have
Tag = tuple[int, list[int]]


def png(depth: int, colour: int, row: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of 4 x 1 pixels (RFC 2083)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + row))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(*one) for one in chunks) + pixels + chunk(b"IEND", b"")


def tiff(order: str, photometric: int, bits: list[int], row: bytes, *more: Tag) -> bytes:
    """An uncompressed TIFF of 4 x 1 pixels (TIFF 6.0); tags are SHORT, and `order` is < or >."""
    shorts = {256: [4], 257: [1], 258: bits, 259: [1], 262: [photometric], 277: [len(bits)], 278: [1], 279: [len(row)]}
    tags = {**shorts, **dict(more)}
    tags[273] = [0] * len(tags[279])
    start = 8 + 2 + 12 * len(tags) + 4
    behind = [2 * len(values) for values in tags.values() if len(values) > 2]
    tags[273] = [start + sum(behind) + sum(tags[279][:strip]) for strip in range(len(tags[279]))]
    entries, values_behind = b"", b""
    for tag, values in sorted(tags.items()):
        data = struct.pack(f"{order}{len(values)}H", *values)
        if len(data) > 4:
            place, values_behind = struct.pack(f"{order}I", start + len(values_behind)), values_behind + data
        else:
            place = data.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", tag, 3, len(values)) + place
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    return head + entries + bytes(4) + values_behind + row


def packed(form: str, *values: int) -> bytes:
    return struct.pack(f"{form[0]}{len(values)}{form[1]}", *values)


PALETTE = (320, [level * 257 for _ in "RGB" for level in (*GREYS, *[0] * 252)])
ALPHA, PREMULTIPLIED, UNKNOWN = (338, [2]), (338, [1]), (338, [0])
TIMES_ALPHA = bytes((0, 85, 85, 85, 170, 170, 255, 255))  # white and, at first, black, of these alphas
TWO = (0, 255, 0, 255)

FILES: dict[str, tuple[bytes, tuple[int, ...], tuple[int, ...] | None]] = {
    # name: the file, its greys, its alpha
    "PNG of 1 bit": (png(1, 0, b"\x50"), TWO, None),
    "PNG of 1 bit, white is transparent": (png(1, 0, b"\x50", (b"tRNS", b"\0\1")), TWO, (255, 0, 255, 0)),
    "PNG of 2 bits": (png(2, 0, b"\x1b"), GREYS, None),
    "PNG of 2 bits, 1 is transparent": (png(2, 0, b"\x1b", (b"tRNS", b"\0\1")), GREYS, (255, 0, 255, 255)),
    "PNG of 4 bits, 10 is transparent": (png(4, 0, b"\x05\xaf", (b"tRNS", b"\0\x0a")), GREYS, (255, 255, 0, 255)),
    "PNG of 8 bits, 85 is transparent": (png(8, 0, bytes(GREYS), (b"tRNS", b"\0\x55")), GREYS, (255, 0, 255, 255)),
    "PNG of 16 bits": (png(16, 0, packed(">H", *(257 * g for g in GREYS))), GREYS, None),
    "PNG of 16 bits, 21845 is transparent": (
        png(16, 0, packed(">H", *(257 * g for g in GREYS)), (b"tRNS", packed(">H", 21845))),
        GREYS,
        (255, 0, 255, 255),
    ),
    "PNG of 16 bits with alpha": (png(16, 4, packed(">H", *(257 * g for g in GREYS for _ in "LA"))), GREYS, GREYS),
    "PNG of 16-bit RGB": (png(16, 2, packed(">H", *(257 * g for g in GREYS for _ in "RGB"))), GREYS, None),
    "PNG of 16-bit RGB, white is transparent": (
        png(16, 2, packed(">H", *(257 * g for g in GREYS for _ in "RGB")), (b"tRNS", packed(">H", *[65535] * 3))),
        GREYS,
        (255, 255, 255, 0),
    ),
    "PNG of 16-bit RGBA": (png(16, 6, packed(">H", *(257 * g for g in GREYS for _ in "RGBA"))), GREYS, GREYS),
    "PNG of a palette of 2 bits": (
        png(2, 3, b"\x1b", (b"PLTE", bytes(g for g in GREYS for _ in "RGB")), (b"tRNS", bytes([255, 9, 0]))),
        GREYS,
        (255, 9, 0, 255),
    ),
    "PGM of 15": (b"P2 4 1 15 0 5 10 15\n", GREYS, None),
    "PGM of 65,535": (b"P5 4 1 65535 " + packed(">H", *(257 * g for g in GREYS)), GREYS, None),
    "PPM of 65,535": (b"P6 4 1 65535 " + packed(">H", *(257 * g for g in GREYS for _ in "RGB")), GREYS, None),
    "PBM": (b"P4 4 1 \xa0", TWO, None),
}
for order, bytes_of in (("<", "little"), (">", "big")):
    shorts = packed(f"{order}H", *(257 * g for g in GREYS))
    rgb = packed(f"{order}H", *(257 * g for g in GREYS for _ in "RGB"))
    rgba = packed(f"{order}H", *(257 * g for g in GREYS for _ in "RGBA"))
    inks = [255 - g if ink != "K" else 0 for g in GREYS for ink in "CMYK"]
    FILES |= {
        f"TIFF, {bytes_of} end: {name}": (tiff(order, photometric, bits, row, *tags), greys, alpha)
        for name, photometric, bits, row, tags, greys, alpha in (
            ("1 bit", 1, [1], b"\x50", [], TWO, None),
            ("1 bit, white is 0", 0, [1], b"\xa0", [], TWO, None),
            ("2 bits", 1, [2], b"\x1b", [], GREYS, None),
            ("4 bits, white is 0", 0, [4], b"\xfa\x50", [], GREYS, None),
            ("8 bits, white is 0", 0, [8], bytes(GREYS[::-1]), [], GREYS, None),
            ("16 bits", 1, [16], shorts, [], GREYS, None),
            ("grey and alpha", 1, [8, 8], bytes(g for g in GREYS for _ in "LA"), [ALPHA], GREYS, GREYS),
            ("grey and another", 1, [8, 8], bytes(g for g in GREYS for _ in "LX"), [UNKNOWN], GREYS, None),
            ("grey times alpha", 1, [8, 8], TIMES_ALPHA, [PREMULTIPLIED], (0, 255, 255, 255), (85, 85, 170, 255)),
            ("16-bit RGB", 2, [16] * 3, rgb, [], GREYS, None),
            ("16-bit RGBA", 2, [16] * 4, rgba, [ALPHA], GREYS, GREYS),
            ("inks", 5, [8] * 4, bytes(inks), [], GREYS, None),
            ("16-bit inks", 5, [16] * 4, packed(f"{order}H", *(257 * ink for ink in inks)), [], GREYS, None),
            ("palette", 3, [8], bytes(range(4)), [PALETTE], GREYS, None),
            ("palette and alpha", 3, [8, 8], bytes((0, 0, 1, 85, 2, 170, 3, 255)), [PALETTE, ALPHA], GREYS, GREYS),
            ("YCbCr", 6, [8] * 3, bytes(v for g in GREYS for v in (g, 128, 128)), [], GREYS, None),
        )
    }
# Three that Pillow reads in one order only.
APART = ((284, [2]), (279, [4, 4, 4]))  # each colour in a plane, and strip, of its own
FILES["TIFF in planes"] = (tiff("<", 2, [8] * 3, bytes(GREYS) * 3, *APART), GREYS, None)
FILES["TIFF of 12 bits"] = (tiff("<", 1, [12], b"\x00\x05\x55\xaa\xaf\xff"), GREYS, None)
FILES["TIFF of 16 bits, white is 0"] = (tiff("<", 0, [16], packed("<H", *(257 * g for g in GREYS[::-1]))), GREYS, None)
FILES["TIFF of 32 bits"] = (tiff("<", 1, [32], packed("<I", *(0x01010101 * g for g in GREYS))), GREYS, None)


@pytest.mark.parametrize("name", FILES)
def test_the_tones_and_the_alpha_are_those_of_a_plain_picture(name: str) -> None:
    file, greys, alpha = FILES[name]
    expected = np.repeat(np.array([greys], np.uint8)[..., None], 3, axis=2)
    image = models.decode(file)
    assert image.mode in ("L", "LA", "RGB", "RGBA", "CMYK")
    rgb, transparency = models.split_alpha(image)
    np.testing.assert_array_equal(rgb, expected)
    np.testing.assert_array_equal(models.as_pixels(image), expected)
    if alpha is None:
        assert transparency is None
    else:
        np.testing.assert_array_equal(np.asarray(transparency), [alpha])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV"])
def test_every_mode_in_memory_is_the_same_grey_ramp(mode: str) -> None:
    ramp = Image.fromarray(np.array([GREYS if mode != "1" else TWO], np.uint8))
    image = ramp.convert({"La": "LA", "RGBa": "RGBA", "HSV": "RGB", "YCbCr": "RGB", "CMYK": "RGB"}.get(mode, mode))
    if mode == "PA":
        image = ramp.convert("P").convert("PA")
    image = image.convert(mode)
    np.testing.assert_array_equal(models.as_pixels(image)[..., 0], ramp)
    assert (models.split_alpha(image)[1] is not None) == (mode.upper().endswith("A"))


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16L", "I;16B"])
def test_sixteen_bits_in_memory_are_scaled_not_clipped(mode: str) -> None:
    form = {"I": "<i4", "I;16B": ">u2"}.get(mode, "<u2")
    image = Image.frombytes(mode, (4, 1), np.array([0, 257, 32896, 65535], form).tobytes())
    assert models.as_pixels(image)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_lab_becomes_the_grey_of_its_lightness() -> None:
    """CIE 1976: L* of 0, 33.3, 66.7 and 100 are these levels of sRGB, to a level or so."""
    rows = bytes(value for level in GREYS for value in (level, 0, 0))
    grey = models.as_pixels(models.decode(tiff("<", 8, [8] * 3, rows)))
    np.testing.assert_allclose(grey[0], np.repeat([[0], [78], [162], [255]], 3, axis=1), atol=1.5)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *(("WEBP", mode) for mode in ("RGB", "RGBA")),
        *(("JPEG", mode) for mode in ("L", "RGB", "CMYK")),
        *(("GIF", mode) for mode in ("1", "L", "P", "RGB")),
        *((kind, mode) for kind in ("BMP", "PPM") for mode in ("1", "L", "RGB")),
    ],
)
def test_other_formats_keep_the_ramp(kind: str, mode: str) -> None:
    ramp = Image.fromarray(np.repeat(np.array([GREYS if mode != "1" else TWO], np.uint8), 16, axis=1))
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
    buffer = io.BytesIO()
    ramp.convert("RGB" if mode == "CMYK" else mode).convert(mode).save(buffer, kind, **options)
    levels = models.as_pixels(models.decode(buffer.getvalue()))[..., 0]
    np.testing.assert_allclose(levels.astype(int), np.asarray(ramp, int), atol=2 if kind == "JPEG" else 0)


@pytest.mark.parametrize(
    ("kind", "bits", "form", "row"),
    [
        ("floating point", 32, 3, packed("<f", *range(4))),
        ("signed", 16, 2, packed("<h", -1, 0, 1, 2)),
        ("signed", 32, 2, packed("<i", -1, 0, 1, 2)),
    ],
)
def test_pixels_without_a_known_range_are_refused_by_name(kind: str, bits: int, form: int, row: bytes) -> None:
    with pytest.raises(ImageError, match=rf"heights\.tif has {kind} pixels") as caught:
        models.decode(tiff("<", 1, [bits], row, (339, [form])), name="heights.tif")
    assert caught.value.where == "heights.tif"
    with pytest.raises(ImageError, match="floating point"):
        models.as_pixels(Image.new("F", (2, 2)))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("photometric", "bits", "more"),
    [(2, [16] * 3, ()), (1, [16], ()), (0, [8], ()), (5, [16] * 4, ()), (2, [8] * 4, (PREMULTIPLIED,))],
    ids=["colours of 16 bits", "grey of 16 bits", "white is 0", "inks of 16 bits", "multiplied with alpha"],
)
def test_planes_that_pillow_reads_as_something_else_are_refused(
    order: str, photometric: int, bits: list[int], more: tuple[Tag, ...]
) -> None:
    row = bytes(range(32))[: len(bits) * bits[0] // 2]
    with pytest.raises(ImageError, match=r"scan\.tif holds each colour in a plane of its own"):
        models.decode(tiff(order, photometric, bits, row, (284, [2]), *more), name="scan.tif")


@pytest.mark.parametrize(("photometric", "bits"), [(2, [32] * 3), (1, [16, 16]), (1, [7])])
def test_pixels_that_pillow_does_not_know_are_not_called_broken(photometric: int, bits: list[int]) -> None:
    with pytest.raises(ImageError, match=r"scan\.tif has pixels of a kind that is not read") as caught:
        models.decode(tiff("<", photometric, bits, bytes(48), ALPHA), name="scan.tif")
    assert not isinstance(caught.value, BrokenImageError)

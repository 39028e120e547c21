"""Decoding: whatever people upload is an image, or a sentence."""

import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile

import models
from models import BrokenImageError, ImageError, LimitError, decoding
from models.decoding import MAX_SCANS

HORSE = Path("tests/fixtures/horse2zebra/testA")


def as_bytes(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.fixture(scope="module")
def horse() -> Image.Image:
    return Image.open(sorted(HORSE.iterdir())[0]).convert("RGB")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF", "HEIF"])
def test_every_accepted_kind_decodes(horse: Image.Image, kind: str) -> None:
    image = models.to_rgb(models.decode(as_bytes(horse, kind)))
    assert (image.mode, image.size) == ("RGB", horse.size)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
@pytest.mark.parametrize("first", [b"mif1", b"msf1", None])
def test_a_brand_that_both_share_may_come_first(horse: Image.Image, kind: str, first: bytes | None) -> None:
    data = as_bytes(horse.crop((0, 0, 64, 32)), kind)
    if first is not None:
        size = int.from_bytes(data[:4], "big")
        assert data[8:12] in {data[start : start + 4] for start in range(16, size, 4)}
        data = data[:8] + first + data[12:]
    with models.opened(data) as image:
        assert (image.format, image.size) == (kind, (64, 32))


def test_heic_without_its_package_is_refused_with_what_would_help(
    horse: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_HEIF", ())
    others = tuple(kind for kind in models.ACCEPTED if kind != "HEIF")
    with pytest.raises(ImageError, match=r"photo.heic is HEIC, .*pip install pillow-heif"):
        models.decode(as_bytes(horse, "HEIF"), name="photo.heic", formats=others)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
@pytest.mark.parametrize("brands", [b"mif1", b"isommp42", b"", b"mif1" * 200])
def test_other_files_in_the_same_boxes_are_none_of_them(kind: str, brands: bytes) -> None:
    box = b"ftyp" + brands[:4].ljust(4) + bytes(4) + brands
    with pytest.raises(ImageError, match="not an image of an accepted kind"):
        models.decode((len(box) + 4).to_bytes(4, "big") + box, formats=(kind,))


def test_exif_rotation_is_applied_on_request_only(horse: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = models.decode(as_bytes(horse.crop((0, 0, 64, 32)), "JPEG", exif=exif))
    assert image.size == (64, 32)
    assert models.upright(image).size == (32, 64)


def test_truncated_files_are_broken_images(horse: Image.Image) -> None:
    for kind in ("PNG", "JPEG", "WEBP", "AVIF", "HEIF"):
        data = as_bytes(horse, kind)
        with pytest.raises(ImageError, match="photo"):
            models.decode(data[: len(data) // 2], name="photo")


def test_a_wrong_checksum_is_a_broken_image(horse: Image.Image) -> None:
    data = bytearray(as_bytes(horse, "PNG"))
    data[data.index(b"IDAT") + 40] ^= 0xFF
    with pytest.raises(BrokenImageError, match="truncated or corrupt"):
        models.decode(bytes(data))


@pytest.mark.parametrize("data", [b"hello", b"%PDF-1.7 ...", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_what_is_no_image_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(ImageError, match="not an image of an accepted kind"):
        models.decode(data)


def test_an_empty_file_is_said_to_be_empty() -> None:
    with pytest.raises(ImageError, match="0 bytes"):
        models.decode(b"")


def test_a_bomb_is_refused_from_its_header() -> None:
    """A PNG of 60,000 x 60,000 black pixels whose data never has to be looked at."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    with pytest.raises(LimitError, match="60000 x 60000"):
        models.decode(data)


def test_pillows_own_limits_stay_as_they_are() -> None:
    """Whoever imports this project next to Pillow keeps its guard against bombs."""
    assert Image.MAX_IMAGE_PIXELS == 1024**3 // 4 // 3
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@given(st.binary(max_size=200))
def test_no_bytes_escape_the_exception_tree(data: bytes) -> None:
    for head in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF....WEBP", b"BM", b"II*\0"):
        with pytest.raises((ImageError, LimitError)):
            models.decode(head + data)


def test_png_text_comes_back_whole() -> None:
    data = models.encode(np.zeros((2, 2, 3), np.uint8), text={"seed": "7", "name": "größer"})
    assert models.read_text(data) == {"seed": "7", "name": "größer"}


def with_chunk(image: Image.Image, extra: bytes) -> bytes:
    """A PNG with one more chunk behind its header, of 25 bytes after the 8 of the signature."""
    data = as_bytes(image, "PNG")
    return data[:33] + extra + data[33:]


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"pHYs", b"iCCP", b"eXIf"])
def test_a_png_with_damaged_metadata_is_broken_and_not_of_another_kind(horse: Image.Image, kind: bytes) -> None:
    damaged = bytearray(chunk(kind, b"Software\0\0?"))
    damaged[-1] ^= 1
    with pytest.raises(BrokenImageError, match="logo"):
        models.decode(with_chunk(horse, bytes(damaged)), name="logo")


def test_metadata_of_megabytes_is_no_fault(horse: Image.Image) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = struct.pack(">I", len(profile) + 3_000_000) + profile[4:] + bytes(3_000_000)
    history = b"<history/>" * 300_000
    for extra in (
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(history)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + history),
        chunk(b"zTXt", b"workflow\0\0" + zlib.compress(history)),
        chunk(b"iCCP", b"scanner\0\0" + zlib.compress(profile)),
    ):
        np.testing.assert_array_equal(models.decode(with_chunk(horse, extra)), horse)


def test_metadata_has_a_bound(horse: Image.Image) -> None:
    bomb = zlib.compress(bytes(20_000_000))
    for extra in (chunk(b"zTXt", b"a\0\0" + bomb), chunk(b"iCCP", b"a\0\0" + bomb)):
        with pytest.raises(BrokenImageError, match="too large"):
            models.decode(with_chunk(horse, extra))


def progressive(image: Image.Image, scans: int, metadata: bytes = b"") -> bytes:
    """A JPEG whose last scan comes so many times."""
    data = as_bytes(image, "JPEG", progressive=True, exif=metadata)
    start = data.rfind(b"\xff\xda")
    return data[:start] + data[start:-2] * scans + data[-2:]


def test_a_jpeg_that_repeats_its_scans_is_refused_before_it_is_decoded(horse: Image.Image) -> None:
    assert models.decode(progressive(horse, 20)).size == horse.size
    with pytest.raises(LimitError, match=r"panorama goes over its pixels more than 100 times"):
        models.decode(progressive(horse, MAX_SCANS + 1), name="panorama")


_GIF = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
_FRAME = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
_HEAD = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
PIECES = {
    "frames of a GIF": _GIF + _FRAME * 200_000 + b"\x3b",
    "chunks of a PNG": _HEAD + chunk(b"teSt", b"") * 200_000 + chunk(b"IDAT", zlib.compress(b"\0\0")),
    "segments of a JPEG": b"\xff\xd8" + b"\xff\xe5\0\x02" * 200_000,
    "padding of a JPEG": b"\xff\xd8" + b"\xff" * 2_000_000,
    "text of a PPM": b"P3 1000 1000 255 " + b"1 " * 3_000_000,
}


@pytest.mark.parametrize("what", PIECES)
def test_a_file_of_very_many_pieces_is_not_read_for_ever(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_SECONDS", 0.02)

    def read() -> int:
        with models.opened(PIECES[what]) as file:
            file.load()
            return int(getattr(file, "n_frames", 1))

    with pytest.raises(LimitError, match="pieces"):
        read()


def test_a_text_of_many_comments_is_refused_before_it_is_decoded() -> None:
    head, pixel = b"P3 1 1 255\n", b"1 2 3"
    assert models.decode(head + b"# a comment\n" * 100 + pixel).getpixel((0, 0)) == (1, 2, 3)
    with pytest.raises(LimitError, match="comments"):
        models.decode(head + b"#\n" * 10_000 + pixel)


def test_what_looks_like_a_scan_in_metadata_or_behind_the_end_is_none(horse: Image.Image) -> None:
    scans = b"\xff\xda" * (MAX_SCANS + 1)
    data = progressive(horse, 1, metadata=b"Exif\0\0" + scans) + scans  # such as a film behind a photo
    assert models.decode(data).size == horse.size


SIX = (0x112, 3, 1, struct.pack("<H", 6))


def exif(*tags: tuple[int, int, int, bytes]) -> bytes:
    """EXIF of (tag, type, count, value of at most 4 bytes)."""
    entries = b"".join(struct.pack("<HHI", *tag[:3]) + tag[3].ljust(4, b"\0") for tag in sorted(tags))
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "odd",
    [
        (0x11A, 2, 4, b"300\0"),  # a resolution as text
        (0x110, 9, 1, struct.pack("<i", -1)),  # a camera's name as a number
        (0x13E, 1, 3, b"abc"),  # a white point as bytes
        (0x102, 4, 1, struct.pack("<I", 1 << 20)),  # more bits than there are
    ],
)
def test_orientation_counts_beside_a_tag_that_pillow_cannot_write_again(
    horse: Image.Image, kind: str, odd: tuple[int, int, int, bytes]
) -> None:
    wide = horse.crop((0, 0, 64, 32))
    image = models.decode(as_bytes(wide, kind, exif=exif(SIX, odd)))
    turned = models.upright(image)
    np.testing.assert_array_equal(turned, np.rot90(np.asarray(image), -1))
    assert models.upright(turned) is turned  # it says no more that it lies on its side


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_ends_with_the_same_picture(orientation: int) -> None:
    """EXIF 2.3, tag 0x112: which sides of the picture the first row and column of the file are."""
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3)
    flips = {2: (1,), 3: (0, 1), 4: (0,), 5: (), 6: (1,), 7: (0, 1), 8: (0,)}.get(orientation, ())
    stored = np.flip(upright, flips) if orientation < 5 else np.flip(upright, flips).T
    tag = Image.Exif()
    tag[0x112] = orientation
    file = as_bytes(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=tag)
    np.testing.assert_array_equal(models.upright(models.decode(file)), upright)


def hostile() -> list[bytes]:
    """One small file of every kind that is taken, with metadata, and with later frames of another mode."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (13, 17, 3), np.uint8))
    rich: dict[str, Any] = {
        "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        "exif": exif(SIX),
    }

    def file(kind: str, mode: str = "RGB", frames: bool = False, **options: object) -> bytes:
        later = [picture.rotate(180), picture.convert("L")]  # anew, because Pillow keeps a JPEG's settings in the image
        more = {"save_all": True, "append_images": later} if frames else {}
        return as_bytes(picture.convert(mode) if mode != "RGB" else picture.copy(), kind, **more, **options)

    return [
        file("PNG", **rich),
        file("PNG", "P", transparency=bytes(range(256))),
        *(file(kind, frames=True) for kind in ("PNG", "MPO", "GIF", "TIFF")),
        file("WEBP", "RGBA", frames=True, lossless=True),
        *(file(kind, **rich) for kind in ("JPEG", "WEBP", "TIFF")),
        file("JPEG", "CMYK", progressive=True),
        file("BMP", "P"),
        file("PPM"),
        *(file("TIFF", compression=kind) for kind in ("tiff_lzw", "tiff_adobe_deflate", "jpeg")),
        *(file("TIFF", mode) for mode in ("1", "LA", "CMYK", "I;16", "LAB")),
    ]


def test_no_damage_escapes_the_exception_tree(capfd: pytest.CaptureFixture[str]) -> None:
    """Bytes cut off, flipped and repeated: each file is an image, or a sentence that names it."""
    chance = random.Random(0)
    files, outcomes = hostile(), {"decoded": 0, "refused": 0}
    for index in range(1500):
        data = bytearray(files[index % len(files)])
        for _ in range(chance.choice((1, 1, 2, 8))):
            data[chance.randrange(min(len(data), chance.choice((60, 400, 1 << 20))))] = chance.randrange(256)
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        try:
            image = models.upright(models.decode(bytes(data), name="it", max_pixels=1 << 20))
            rgb, alpha = models.split_alpha(image)
            assert rgb.mode == "RGB"
            assert alpha is None or alpha.size == rgb.size
            outcomes["decoded"] += 1
        except (ImageError, LimitError) as error:
            outcomes["refused"] += error.where == "it"
    capfd.readouterr()  # libtiff says on the terminal what it thinks
    assert sum(outcomes.values()) == 1500
    assert min(outcomes.values()) > 200  # both happened


@pytest.mark.parametrize("inside", [TypeError("a"), SyntaxError(), struct.error("b"), MemoryError(), KeyError(1)])
def test_whatever_pillow_raises_later_is_a_sentence_too(horse: Image.Image, inside: Exception) -> None:
    with (
        pytest.raises(BrokenImageError, match=r"photo is truncated or corrupt: \S"),
        models.opened(as_bytes(horse, "PNG"), name="photo"),
    ):
        raise inside

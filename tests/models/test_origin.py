"""The packet that a picture carries, as other programs read it, write it again, or forge it."""

import io
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from models import origin
from models.origin import NOTHING, Origin
from service.encoding import pictures
from service.encoding.animations import animate

ABOUT = {"model": "dcgan@2+a", "seed": "7", "note": "<Zèbre> & \"斑马\" 'x'"}
ORIGIN = Origin("trainedAlgorithmicMedia", ABOUT)
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)


def packet_of(data: bytes) -> bytes:
    """Where each format keeps XMP, by Pillow; of a GIF by what the XMP specification (part 3, 1.1.2) says."""
    image = Image.open(io.BytesIO(data))
    image.load()
    if image.format == "GIF":
        start = data.index(b"\x21\xff\x0bXMP DataXMP") + 14
        return data[start : data.index(b"\x01\xff\xfe\xfd", start)]
    return image.info["xmp"]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
def test_every_format_has_the_same_packet(kind: Any) -> None:
    assert packet_of(pictures.encode(PIXELS[0], kind, origin=ORIGIN)) == ORIGIN.packet()


@pytest.mark.parametrize("kind", ["gif", "webp", "apng"])
def test_animations_too(kind: Any) -> None:
    data = animate(PIXELS, kind, 80, 90, ORIGIN)
    assert packet_of(data) == ORIGIN.packet()
    image = Image.open(io.BytesIO(data))
    assert (image.n_frames, image.info["loop"]) == (3, 0)
    for index in range(3):
        image.seek(index)
        image.load()


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
def test_a_picture_of_unknown_origin_claims_none(kind: Any) -> None:
    assert b"xmp" not in pictures.encode(PIXELS[0], kind).lower()


def test_the_mark_is_the_one_that_iptc_asks_for() -> None:
    root = ElementTree.fromstring(ORIGIN.packet())
    (description,) = root.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    said = description.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
    assert said == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def test_what_was_written_is_read() -> None:
    found = origin.read(ORIGIN.packet())
    assert (found.source, found.text) == ("trainedAlgorithmicMedia", ORIGIN.text)


def test_a_gif_without_a_palette_of_its_own_takes_it_too() -> None:
    bare = b"GIF89a" + b"\1\0\1\0" + b"\0\0\0" + b"\x3b"
    data = ORIGIN.into_gif(bare)
    assert (data[:13], data[-1:], origin.from_gif(data)) == (bare[:13], b"\x3b", ORIGIN.packet())


RDF = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<r:Description xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:g="urn:gan-service:xmp/">{}'
    "</r:Description></r:RDF></x:xmpmeta>"
)
ADDRESS = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"


@pytest.mark.parametrize(
    ("inside", "source", "text"),
    [
        (
            f"<i:DigitalSourceType>{ADDRESS}</i:DigitalSourceType><g:seed>7</g:seed>",
            "digitalCapture",
            {"gan.seed": "7"},
        ),
        (f'<i:DigitalSourceType r:resource="{ADDRESS}"/>', "digitalCapture", {}),
        ("<i:DigitalSourceType>urn:other:kind</i:DigitalSourceType>", "urn:other:kind", {}),
        ("<g:model/>", None, {"gan.model": ""}),
    ],
)
def test_other_programs_write_it_in_other_ways(inside: str, source: str | None, text: dict[str, str]) -> None:
    found = origin.read(RDF.format(inside).encode() + b"\0 ")
    assert (found.source, found.text) == (source, text)


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]>' + RDF.format("<g:seed>&c;</g:seed>")


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"hello",
        b"\xff\xfe",
        b"<a>",
        BOMB.encode(),
        BOMB.encode("utf-16"),
        b" " * 2**20 + b"<a/>",
        b"<a>" * 300_000,
    ],
    ids=["empty", "text", "bytes", "open", "entities", "utf-16", "long", "deep"],
)
def test_what_is_no_packet_says_nothing(packet: bytes) -> None:
    assert origin.read(packet) == NOTHING


def test_a_deep_packet_is_read_to_its_end() -> None:
    assert origin.read(b"<a>" * 100_000 + b"</a>" * 100_000) == NOTHING

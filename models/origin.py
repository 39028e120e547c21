"""Where a picture came from, as the picture itself says it, for people's tools and for platforms.

The words are XMP (ISO 16684-1), which PNG, JPEG, WebP, AVIF and GIF all have a place for: IPTC's digital source type,
which platforms look at to label what was generated, and in a namespace of our own what `/v1/inspect` makes the picture
from again. The packet is read with the same care as the rest of an upload: whoever sends it wrote it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

SourceType = Literal["trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"]

PREFIX = "gan."
"""What names of ours begin with among other text in a picture."""

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""IPTC's vocabulary, in which a `SourceType` is a word: what a network made, and what it made of a photo."""

_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_OURS = "urn:gan-service:xmp/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_HEAD = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    f'<rdf:RDF xmlns:rdf="{_RDF}"><rdf:Description rdf:about="" xmlns:Iptc4xmpExt="{_IPTC}" xmlns:gan="{_OURS}"'
    f' Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPES}'
)
_TAIL = '/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
_MOST_READ = 2**20  # bytes; what a JPEG has room for is a sixteenth of it

_GIF_BLOCK = b"\x21\xff\x0bXMP DataXMP"  # an application extension, whose data is the packet itself, in no sub-blocks
_GIF_TRAILER = b"\x01" + bytes(range(255, -1, -1)) + b"\x00"  # leads readers of sub-blocks out, wherever they land


@dataclass(frozen=True)
class Origin:
    """What a picture says of how it was made.

    Attributes:
        source: what kind of picture it is, in IPTC's words.
        about: model, digest, seed and the like. A latent of 4,096 numbers and all beside it take 23 kB of the 65,502
            bytes that a JPEG has for a packet.
        training: what the checkpoint says of how it was trained; signed manifests tell it, too.
        photo: SHA-256 of the file that was translated, as hexadecimal digits; likewise.
    """

    source: SourceType
    about: Mapping[str, str]
    training: Mapping[str, Any] = field(default_factory=dict)
    photo: str | None = None

    @property
    def text(self) -> dict[str, str]:
        """`about` under the names that it has among other text."""
        return {PREFIX + name: value for name, value in self.about.items()}

    def packet(self) -> bytes:
        """The source and `about` as one XMP packet."""
        ours = "".join(f" gan:{name}={quoteattr(value)}" for name, value in self.about.items())
        return f'{_HEAD}{self.source}"{ours}{_TAIL}'.encode()

    def into_gif(self, gif: bytes) -> bytes:
        """The GIF (89a) with the packet, right after its global colour table."""
        table = 3 << (gif[10] & 7) + 1 if gif[10] & 0x80 else 0
        return b"".join((gif[: 13 + table], _GIF_BLOCK, self.packet(), _GIF_TRAILER, gif[13 + table :]))


@dataclass(frozen=True)
class Found:
    """What a packet says, whoever wrote it: the source type as its word, or as its address where it is not IPTC's, and
    text as `Origin.text`."""

    source: str | None
    text: Mapping[str, str]


NOTHING = Found(None, {})


def read(packet: bytes) -> Found:
    """Reads a packet, whatever program wrote it: properties may be attributes or elements.

    What is no packet, or declares entities, which XMP has none of, says nothing.
    """
    if len(packet) > _MOST_READ:
        return NOTHING
    try:
        xml = packet.rstrip(b"\0 ").decode()
        if "<!DOCTYPE" in xml:
            return NOTHING
        root = ElementTree.fromstring(xml)
    except (ValueError, ElementTree.ParseError):
        return NOTHING
    source: str | None = None
    text: dict[str, str] = {}
    for element in root.iter():
        value = element.get(f"{{{_RDF}}}resource") or element.text or ""
        for name, said in (*element.items(), (element.tag, value)):
            if name == f"{{{_IPTC}}}DigitalSourceType":
                source = said.strip().removeprefix(SOURCE_TYPES)
            elif name.startswith(f"{{{_OURS}}}"):
                text[PREFIX + name.removeprefix(f"{{{_OURS}}}")] = said
    return Found(source, text)


def from_gif(gif: bytes) -> bytes:
    """The packet of a GIF, or nothing."""
    _, block, rest = gif.partition(_GIF_BLOCK)
    packet, trailer, _ = rest.partition(_GIF_TRAILER)
    return packet if block and trailer else b""

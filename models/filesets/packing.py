"""How bytes are packed, told by how they begin, never by a file's name."""

import tarfile

PACKINGS = {  # signature -> what people call it
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # without a member
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
    b"\x04\x22\x4d\x18": "LZ4",
    b"LZIP": "lzip",
    b"\x1f\x9d": "compress",
}
HEAD = 512  # bytes that tell: a tar begins with a block of its own, which has no signature in its oldest form


def packing_of(head: bytes) -> str | None:
    """One of PACKINGS' values, "tar", or None for what is none of them; `head` is the first 512 bytes."""
    for signature, name in PACKINGS.items():
        if head.startswith(signature):
            return name
    try:
        tarfile.TarInfo.frombuf(head[:HEAD], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    return "tar"

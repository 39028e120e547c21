"""Images on their way to the service: which files of a folder are some, and the parts of the form they make."""

from collections.abc import Sequence
from pathlib import Path

from gan_client.options import ClipFormat

Image = str | Path | bytes
Images = Image | Sequence[Image]  # a path may be of a folder; of a set, also of an archive or an .npz of statistics
Part = tuple[str, tuple[str, bytes]]  # as `requests` takes them: field, (file name, content)

# What the service takes out of an archive, too; HEIC where it has the package for it.
SUFFIXES = frozenset(
    {
        ".apng", ".avif", ".avifs", ".bmp", ".gif", ".heic", ".heics", ".heif", ".heifs", ".hif", ".jfif", ".jpe",
        ".jpeg", ".jpg", ".pbm", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
    }
)  # fmt: skip

VIDEOS: dict[str, ClipFormat] = {".mp4": "mp4", ".webm": "webm"}


def in_folder(folder: Path) -> list[Path]:
    """The images in it and below, in order of their paths; not the hidden ones, which file managers leave behind."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not _is_hidden(path.relative_to(folder)) and path.is_file()
    )


def moving_format(path: Path) -> ClipFormat | None:
    """The format of a video, by its ending, and of a picture that moves, by what its file says; None of any other, or
    of what cannot be read."""
    if video := VIDEOS.get(path.suffix.lower()):
        return video
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if data.startswith(b"GIF8") and data.count(b"\x21\xf9\x04") > 1:  # before each frame, how long it is shown
        return "gif"
    if data[8:16] == b"WEBPVP8X" and data[20:21] and data[20] & 2:
        return "webp"
    if data.startswith(b"\x89PNG") and b"acTL" in data[: data.find(b"IDAT")]:
        return "apng"
    return None


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def parts(field: str, images: Images) -> list[Part]:
    """Of images by path, by folder or as bytes, all that they are.

    Raises:
        OSError: a file cannot be read.  ValueError: there is no image.
    """
    made: list[Part] = []
    for image in [images] if isinstance(images, str | Path | bytes) else images:
        if isinstance(image, bytes):
            made.append((field, (f"image-{len(made)}", image)))
        else:
            path = Path(image)
            found = in_folder(path) if path.is_dir() else [path]
            made += [(field, (_sendable(one.name), one.read_bytes())) for one in found]
    if not made:
        raise ValueError(f"{images!s} holds no image.")
    return made


def _sendable(name: str) -> str:
    """A file's name may be bytes that are no UTF-8, which Python keeps as surrogates."""
    return name.encode(errors="replace").decode()

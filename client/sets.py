"""How a set of images is named: files, a reference that the service keeps, or what one of its models draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.transport import Files

Image = str | Path | bytes
_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp"))


@dataclass(frozen=True)
class Reference:
    """Statistics that the service keeps under a name."""

    name: str


@dataclass(frozen=True)
class Drawn:
    """n images that a served model draws, from seeds seed, seed + 1, ..."""

    model: str
    n: int
    seed: int = 0
    truncation: float | None = None


ImageSet = Image | Sequence[Image] | Reference | Drawn
"""A path (a folder, an image, an archive, an .npz of statistics), bytes of one, several, or one of the above."""


def files_of(field: str, images: Image | Sequence[Image]) -> Files:
    """Multipart entries. Of a folder, the images in it and below, by name. Raises OSError, ValueError."""
    several = [images] if isinstance(images, str | Path | bytes) else list(images)
    paths = [path for one in several for path in _expanded(one)]
    if not paths:
        raise ValueError(f"{images!r} holds no image (looked for {', '.join(sorted(_SUFFIXES))}).")
    return [(field, _named(path, index)) for index, path in enumerate(paths)]


def _expanded(image: Image) -> list[Path | bytes]:
    if isinstance(image, bytes):
        return [image]
    path = Path(image)
    if not path.is_dir():
        return [path]
    return sorted(found for found in path.rglob("*") if found.suffix.lower() in _SUFFIXES)


def _named(image: Path | bytes, index: int) -> tuple[str, bytes]:
    return (f"image-{index}", image) if isinstance(image, bytes) else (image.name, image.read_bytes())


def side_of(side: str, images: ImageSet) -> tuple[Files, dict[str, Any]]:
    """(files, form fields) that give `images` as set a or b of a score."""
    if isinstance(images, Reference):
        return [], {f"{side}_reference": images.name}
    if isinstance(images, Drawn):
        values = {"model": images.model, "n": images.n, "seed": images.seed, "truncation": images.truncation}
        return [], {f"{side}_{name}": value for name, value in values.items()}
    return files_of(side, images), {}

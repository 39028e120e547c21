"""Where images come from: a folder, an archive, arrays, files, or a generator's checkpoint.

Every source is a stream of small loaders, called in worker threads, so that only a few images are in memory at any
time. Every image ends as RGB uint8 [h, w, 3] in the one way of `models.to_rgb`: grey and palettes are expanded,
alpha is dropped, 16-bit grey is scaled, CMYK is converted, EXIF's turn is made; sizes may differ from image to image.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import models
from metrics.extraction.arrays import Stored, stored_images
from models import ImageError, InputError, filesets, legible
from models.images import Pixels

READING = "upright"  # how files become pixels; kept features of another reading are not found again
MOST_SAMPLES = 10_000_000
_SAMPLING_BATCH = 32

Item = Pixels | bytes | Path | Image.Image
Loader = Callable[[], Pixels]


@dataclass(frozen=True)
class Samples:
    """Images drawn from a generator's checkpoint: sample i has seed + i, and class i modulo the classes.

    checkpoint: a `.safetensors` of this project.  count: images to draw.  seed: 0 <= seed < 2^63.  truncation: as
    `models.draw` has it.
    """

    checkpoint: Path
    count: int
    seed: int = 0
    truncation: float | None = None


@dataclass(frozen=True)
class Images:
    """A stream of images.

    name: for results and errors.  count: how many, or None where it is not known beforehand.
    loaders: gives the stream afresh; each loader returns one uint8 [h, w, 3].
    digest: gives a hexadecimal digest of the content, the same on any machine; None where there is no cheap one.
    skipped: files that lay beside them and are no images, counted by their ending.
    """

    name: str
    count: int | None
    loaders: Callable[[], Iterator[Loader]]
    digest: Callable[[], str] | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)

    @property
    def left_out(self) -> dict[str, Any] | None:
        """`skipped` as results carry it, with a sentence that says why; None where nothing was."""
        return {"endings": dict(self.skipped), "why": filesets.why_skipped(self.skipped)} if self.skipped else None


def open_images(source: object) -> Images:
    """Any accepted source of images as a stream.

    Args:
        source: `Images` as they are, a folder (searched through its subfolders), a `.zip` or `.tar*` archive, an
            `.npz` of images, a list of image files, a uint8 array [n, h, w] or [n, h, w, 1, 3 or 4], `Samples`, or an
            iterable of images: uint8 arrays [h, w], [h, w, c] or batches [n, h, w, c], encoded bytes, paths, Pillow
            images.
    Raises:
        NotFoundError: no such path.  InputError: no image in it, or not a source.
        ImageError and LimitError come later, from the loaders, and name the image at fault.
    """
    if isinstance(source, Images):
        return source
    if isinstance(source, str | Path):
        return _open_path(Path(source))
    if isinstance(source, Samples):
        return _open_samples(source)
    if isinstance(source, np.ndarray):
        return _open_array(source)
    if isinstance(source, Sequence) and not isinstance(source, bytes):
        if not source:
            raise InputError("The list of images is empty.")
        single = all(not isinstance(item, np.ndarray) or item.ndim < 4 for item in source)
        files = [Path(item) for item in source if isinstance(item, str | Path)]
        return Images(
            f"{len(source)} images", len(source) if single else None,
            partial(_from_iterable, source),
            (lambda: digest_of(_content(file, str(file)) for file in files)) if len(files) == len(source) else None,
        )  # fmt: skip
    if isinstance(source, Iterable) and not isinstance(source, bytes | dict):
        return Images("a stream of images", None, partial(_from_iterable, source))
    raise InputError(
        f"Cannot read images from a {type(source).__name__}: give a folder, an archive, uint8 arrays or image files."
    )


def _open_path(path: Path) -> Images:
    if path.suffix == ".npz" and (stored := stored_images(path, legible(path.name))) is not None:
        return open_stored(stored)
    files = filesets.open_files(path)
    names = files.images
    if not names:
        raise InputError(f"There is no image in {files.name} (looked for {_kinds()}).", where=files.name)
    return Images(
        files.name, len(names),
        lambda: (partial(_load_member, files, name) for name in names),
        lambda: digest_of(files.read(name) for name in names),
        files.skipped,
    )  # fmt: skip


def open_stored(stored: Stored) -> Images:
    """The images of an `.npz`, one at a time."""
    return Images(
        f"{stored.name}, array of {stored.shape[0]} images", stored.shape[0],
        lambda: (partial(load_array, row, f"image {i}") for i, row in enumerate(stored.rows())),
        lambda: digest_of(repr(row.shape).encode() + row.tobytes() for row in stored.rows()),
    )  # fmt: skip


def _kinds() -> str:
    return ", ".join(sorted(suffix[1:] for suffix in filesets.SUFFIXES))


def digest_of(contents: Iterable[bytes]) -> str:
    """SHA-256 over the sorted SHA-256 of each file: names, order and packing do not matter, content does."""
    return hashlib.sha256(b"".join(sorted(hashlib.sha256(data).digest() for data in contents))).hexdigest()


def load_image(data: bytes, name: str, max_pixels: int = models.MAX_PIXELS) -> Pixels:
    """An encoded image as RGB uint8 [h, w, 3], turned as its EXIF says.

    Raises:
        ImageError and its kin, naming the image.
    """
    return _as_pixels(models.decode(data, name=name, max_pixels=max_pixels), name)


def _as_pixels(image: Image.Image, name: str) -> Pixels:
    try:
        return models.as_pixels(models.upright(image))
    except ImageError as error:  # of its kind of pixels; what converts them does not know the name
        raise error if error.where else ImageError(f"{name}: {error.message}", where=name) from error


def _load_member(files: filesets.FileSet, name: str) -> Pixels:
    return load_image(files.read(name), legible(name))


def _load_file(path: Path, name: str) -> Pixels:
    return load_image(_content(path, name), name)


def _content(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}.", where=name) from error


def _open_array(array: np.ndarray) -> Images:
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.dtype != np.uint8 or array.shape[3] not in (1, 3, 4) or 0 in array.shape[1:3]:
        raise InputError(
            f"An array of images is uint8 [n, h, w, 3] (or 1 or 4 channels), not {array.dtype} {list(array.shape)}."
        )
    if not len(array):
        raise InputError("The array holds no image.")
    return Images(
        f"array of {len(array)} images", len(array),
        lambda: (partial(load_array, picture, f"image {i}") for i, picture in enumerate(array)),
        lambda: digest_of(repr(picture.shape).encode() + picture.tobytes() for picture in array),
    )  # fmt: skip


def load_array(picture: np.ndarray, name: str) -> Pixels:
    """uint8 [h, w] or [h, w, 1, 3 or 4] as RGB uint8 [h, w, 3]. Raises InputError for any other."""
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.ndim != 3 or picture.dtype != np.uint8 or picture.shape[2] not in (1, 3, 4) or 0 in picture.shape:
        raise InputError(
            f"{name} must be uint8 [h, w, 3] (or 1 or 4 channels), not {picture.dtype} {list(picture.shape)}.",
            where=name,
        )
    return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture[..., :3]


def _from_iterable(items: Iterable[object]) -> Iterator[Loader]:
    index = 0
    for item in items:
        name = f"image {index}"
        if isinstance(item, np.ndarray) and item.ndim == 4:
            yield from (partial(load_array, picture, f"image {index + i}") for i, picture in enumerate(item))
            index += len(item)
            continue
        index += 1
        if isinstance(item, np.ndarray):
            yield partial(load_array, item, name)
        elif isinstance(item, bytes):
            yield partial(load_image, item, name)
        elif isinstance(item, str | Path):
            yield partial(_load_file, Path(item), str(item))
        elif isinstance(item, Image.Image):
            yield partial(_as_pixels, item, name)
        else:
            raise InputError(f"{name} is a {type(item).__name__}, not an image.", where=name)


def _open_samples(samples: Samples) -> Images:
    if not 1 <= samples.count <= MOST_SAMPLES:
        raise InputError(
            f"A checkpoint needs a sample count of at least 1, and at most {MOST_SAMPLES:,}, not {samples.count}.",
            where="samples",
        )
    generator = models.load(samples.checkpoint, models.Generator)

    def batches() -> Iterator[Pixels]:
        seeds = models.sample_seeds(samples.seed, samples.count)
        for start in range(0, samples.count, _SAMPLING_BATCH):
            few = seeds[start : start + _SAMPLING_BATCH]
            classes = None
            if generator.classes:
                classes = torch.arange(start, start + len(few)) % len(generator.classes)
            latents = models.draw(few, generator.latent_size, truncation=samples.truncation)
            yield models.to_uint8(generator(latents, classes))

    truncated = "" if samples.truncation is None else f" truncated at {samples.truncation:g}"
    identity = f"{generator.digest} {samples.count} {samples.seed}{truncated}"
    return Images(
        f"{samples.checkpoint.name}, {samples.count} samples from seed {samples.seed}{truncated}", samples.count,
        lambda: _from_iterable(batches()),
        lambda: hashlib.sha256(identity.encode()).hexdigest(),
    )  # fmt: skip

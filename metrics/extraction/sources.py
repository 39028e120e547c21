"""Where images come from: a folder, an archive, arrays, files, or a generator's checkpoint.

Every source is a stream of small loaders, called in worker threads, so that only a few images are in memory at any
time. Every image ends as RGB uint8 [h, w, 3] in the one way of `models.to_rgb`: grey and palettes are expanded,
alpha is dropped, 16-bit grey is scaled, CMYK is converted; sizes may differ from image to image.
"""

import contextlib
import hashlib
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image

import models
from models import InputError, LimitError, NotFoundError
from models.images import Pixels

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
MAX_MEMBER_BYTES = 200_000_000  # of one image inside an archive, unpacked
_SAMPLING_BATCH = 32

Item = Pixels | bytes | Path | Image.Image
Loader = Callable[[], Pixels]


@dataclass(frozen=True)
class Samples:
    """Images drawn from a generator's checkpoint: sample i has seed + i, and class i modulo the classes.

    checkpoint: a `.safetensors` of this project.  count: images to draw.  seed: 0 <= seed < 2^63.
    """

    checkpoint: Path
    count: int
    seed: int = 0


@dataclass(frozen=True)
class Images:
    """A stream of images.

    name: for results and errors.  count: how many, or None where it is not known beforehand.
    loaders: gives the stream afresh; each loader returns one uint8 [h, w, 3].
    digest: gives a hexadecimal digest of the content, the same on any machine; None where there is no cheap one.
    """

    name: str
    count: int | None
    loaders: Callable[[], Iterator[Loader]]
    digest: Callable[[], str] | None = None


def open_images(source: object) -> Images:
    """Any accepted source of images as a stream.

    Args:
        source: `Images` as they are, a folder (searched through its subfolders), a `.zip` or `.tar*` archive, a list
            of image files, a uint8 array [n, h, w] or [n, h, w, 1, 3 or 4], `Samples`, or an iterable of images:
            uint8 arrays [h, w], [h, w, c] or batches [n, h, w, c], encoded bytes, paths, Pillow images.
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
            (lambda: _digest(_content(file, str(file)) for file in files)) if len(files) == len(source) else None,
        )  # fmt: skip
    if isinstance(source, Iterable) and not isinstance(source, bytes | dict):
        return Images("a stream of images", None, partial(_from_iterable, source))
    raise InputError(
        f"Cannot read images from a {type(source).__name__}: give a folder, an archive, uint8 arrays or image files."
    )


def _open_path(path: Path) -> Images:
    if path.is_dir():
        files = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
        )
        if not files:
            raise InputError(f"There is no image in {path} (looked for {_kinds()}).", where=str(path))
        return Images(
            str(path), len(files),
            lambda: (partial(_load_file, file, str(file.relative_to(path))) for file in files),
            lambda: _digest(_content(file, str(file.relative_to(path))) for file in files),
        )  # fmt: skip
    if not path.exists():
        raise NotFoundError(f"There is no file or folder {path}.", where=str(path))
    if zipfile.is_zipfile(path):
        return _open_zip(path)
    if tarfile.is_tarfile(path):
        return _open_tar(path)
    raise InputError(f"{path.name} is neither a folder of images nor a zip or tar archive of them.", where=str(path))


def _kinds() -> str:
    return ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))


def _digest(contents: Iterable[bytes]) -> str:
    """SHA-256 over the sorted SHA-256 of each file: names, order and packing do not matter, content does."""
    return hashlib.sha256(b"".join(sorted(hashlib.sha256(data).digest() for data in contents))).hexdigest()


def _load_file(path: Path, name: str) -> Pixels:
    with _legible(name):
        return models.as_pixels(models.decode(path, name=name))


def _content(path: Path, name: str) -> bytes:
    with _legible(name):
        return path.read_bytes()


@contextlib.contextmanager
def _legible(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}.", where=name) from error


def _load_bytes(data: bytes, name: str) -> Pixels:
    return models.as_pixels(models.decode(data, name=name))


def _is_image(member: str) -> bool:
    path = PurePosixPath(member)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and "__MACOSX" not in path.parts


def _within_limit(size: int, name: str) -> None:
    if size > MAX_MEMBER_BYTES:
        raise LimitError(f"{name} unpacks to {size:,} bytes; at most {MAX_MEMBER_BYTES:,} are accepted.", where=name)


def _open_zip(path: Path) -> Images:
    with _readable(path), zipfile.ZipFile(path) as archive:
        members = sorted(info.filename for info in archive.infolist() if not info.is_dir() and _is_image(info.filename))
    if not members:
        raise InputError(f"There is no image in {path.name} (looked for {_kinds()}).", where=path.name)

    def contents() -> Iterator[tuple[str, bytes]]:
        with _readable(path), zipfile.ZipFile(path) as archive:
            for name in members:
                _within_limit(archive.getinfo(name).file_size, name)
                yield name, archive.read(name)

    return _from_contents(path.name, len(members), contents)


def _open_tar(path: Path) -> Images:
    """Read front to back and never unpacked to disk, so a member's path cannot lead anywhere."""

    def contents() -> Iterator[tuple[str, bytes]]:
        with _readable(path), tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and _is_image(member.name):
                    _within_limit(member.size, member.name)
                    file = archive.extractfile(member)
                    yield member.name, file.read() if file else b""

    with _readable(path), tarfile.open(path) as archive:
        count = sum(member.isfile() and _is_image(member.name) for member in archive)
    if not count:
        raise InputError(f"There is no image in {path.name} (looked for {_kinds()}).", where=path.name)
    return _from_contents(path.name, count, contents)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise InputError(f"The archive {path.name} is damaged or locked: {error}.", where=path.name) from error


def _from_contents(name: str, count: int, contents: Callable[[], Iterator[tuple[str, bytes]]]) -> Images:
    return Images(
        name,
        count,
        lambda: (partial(_load_bytes, data, member) for member, data in contents()),
        lambda: _digest(data for _, data in contents()),
    )


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
        lambda: (partial(_load_array, picture, f"image {i}") for i, picture in enumerate(array)),
        lambda: _digest(repr(picture.shape).encode() + picture.tobytes() for picture in array),
    )  # fmt: skip


def _load_array(picture: np.ndarray, name: str) -> Pixels:
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
            yield from (partial(_load_array, picture, f"image {index + i}") for i, picture in enumerate(item))
            index += len(item)
            continue
        index += 1
        if isinstance(item, np.ndarray):
            yield partial(_load_array, item, name)
        elif isinstance(item, bytes):
            yield partial(_load_bytes, item, name)
        elif isinstance(item, str | Path):
            yield partial(_load_file, Path(item), str(item))
        elif isinstance(item, Image.Image):
            yield partial(models.as_pixels, item)
        else:
            raise InputError(f"{name} is a {type(item).__name__}, not an image.", where=name)


def _open_samples(samples: Samples) -> Images:
    if samples.count < 1:
        raise InputError(f"A checkpoint needs a sample count of at least 1, not {samples.count}.", where="samples")
    generator = models.load(samples.checkpoint, models.Generator)

    def batches() -> Iterator[Pixels]:
        seeds = models.sample_seeds(samples.seed, samples.count)
        for start in range(0, samples.count, _SAMPLING_BATCH):
            few = seeds[start : start + _SAMPLING_BATCH]
            classes = None
            if generator.classes:
                classes = torch.arange(start, start + len(few)) % len(generator.classes)
            yield models.to_uint8(generator(models.draw(few, generator.latent_size), classes))

    identity = f"{generator.digest} {samples.count} {samples.seed}"
    return Images(
        f"{samples.checkpoint.name}, {samples.count} samples from seed {samples.seed}", samples.count,
        lambda: _from_iterable(batches()),
        lambda: hashlib.sha256(identity.encode()).hexdigest(),
    )  # fmt: skip

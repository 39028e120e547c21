"""Sets of images to score: uploaded files or one archive, or what a served model draws.

Each becomes the `Images` of metrics/, whose loaders decode one image at a time in worker threads, so that a set is
never in memory as pixels. Errors name the file at fault.
"""

import asyncio
import io
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial

import models
from metrics import FeatureSet, Images, Loader, Stored, load_image, open_stored, stored_images
from models import filesets, legible
from models.errors import InputError, LimitError
from models.images import Pixels
from service.call import File
from service.engine.classes import class_weights, default_classes
from service.engine.patience import patiently
from service.engine.sampler import Latents, Sampler
from service.scoring import archives
from service.scoring.references import from_npz
from service.settings import Settings


def stream(
    unit: Sampler, name: str, count: int, seed: int, truncation: float | None, loop: asyncio.AbstractEventLoop
) -> Images:
    """What a generator draws for seeds seed, seed + 1, ..., for metrics/ to read on another thread.

    They are the pixels that POST /v1/sample answers, as RGB; so the classes of a conditional model take turns.

    Args:
        loop: the event loop that the batcher lives on.
    """
    network, step = unit.network, unit.batcher.max_size
    seeds = models.sample_seeds(seed, count)

    def loaders() -> Iterator[Loader]:
        for start in range(0, count, step):
            few = seeds[start : start + step]
            classes = class_weights(network, default_classes(network, few), len(few))
            rows = Latents(models.draw(few, network.latent_size, truncation=truncation), classes)
            pixels = asyncio.run_coroutine_threadsafe(patiently(partial(unit.images, rows)), loop).result()
            for picture in pixels:
                yield partial(_as_rgb, picture)

    return Images(f"{name}, {count} samples from seed {seed}", count, loaders)


def _as_rgb(picture: Pixels) -> Pixels:
    return picture.repeat(3, axis=2) if picture.shape[2] == 1 else picture


MOST_FILES = 1000  # in one form field; a larger set comes as an archive
_NPZ_BYTES = 160 * 2**20  # two float64 arrays of 2048 x 2048, and room for a reference's features


async def uploaded(files: Sequence[File], field: str, settings: Settings) -> Images | FeatureSet:
    """The files of one form field: images, or one zip or tar of images, or one .npz of images or statistics.

    Which files are images is the rule of `models.filesets`: the others are left out, and counted.

    Raises:
        InputError: no image among them, or an archive that archives.py refuses.  LimitError: too many or too large.
        Images themselves are decoded later; a broken one is told then, by name.
    """
    return await asyncio.to_thread(_open, files, field, settings)


def _open(files: Sequence[File], field: str, settings: Settings) -> Images | FeatureSet:
    named = [(file.name, file.read()) for file in files]
    packings = [filesets.packing_of(data[: filesets.HEAD]) for _, data in named]
    if len(named) == 1 and packings[0] is not None:
        return _packed(*named[0], packings[0], field, settings)
    if len(named) > settings.set_files:
        raise LimitError(f"{field} has {len(named):,} files; at most {settings.set_files:,} are accepted.", where=field)
    for (name, _), packing in zip(named, packings, strict=True):
        if packing is not None:
            raise InputError(f"{name} is an archive: send it alone, or images alone.", where=field)
    images = [(name, data) for name, data in named if _is_image(name, data)] or named  # which says what each is
    skipped = filesets.endings({name for name, _ in named} - {name for name, _ in images})
    loaders = [partial(load_image, data, name, settings.image_pixels) for name, data in images]
    return Images(f"{len(images)} files", len(images), lambda: iter(loaders), skipped=skipped)


def _is_image(name: str, data: bytes) -> bool:
    return filesets.has_image_ending(name) or filesets.begins_like_an_image(data[: filesets.HEAD])


def _packed(name: str, data: bytes, packing: str, field: str, settings: Settings) -> Images | FeatureSet:
    limits = archives.Limits(settings.set_files, settings.archive_others, settings.archive_mb * 2**20)
    if packing == "zip":
        archives.check_zip_entries(data, limits, field)
        if _is_npz(data):
            return _statistics(data, name, field)
        if (stored := stored_images(data, name)) is not None:
            return _stored(data, stored, limits, field, settings)
    found = archives.open_archive(data, limits, field)
    images = found.images
    if not images:
        kinds = ", ".join(sorted(suffix[1:] for suffix in filesets.SUFFIXES))
        raise InputError(f"There is no image in {field} (looked for {kinds}).", where=field)
    return Images(
        name,
        len(images),
        lambda: (partial(_load, found, member, settings.image_pixels) for member in images),
        skipped=found.skipped,
    )


def _stored(data: bytes, stored: Stored, limits: archives.Limits, field: str, settings: Settings) -> Images:
    """An array of images, unpacked one by one. Raises LimitError."""
    count, height, width, _ = stored.shape
    if count > limits.files:
        raise LimitError(f"{field} has {count:,} images; at most {limits.files:,} are accepted.", where=field)
    if height * width > settings.image_pixels:
        raise LimitError(
            f"An image of {field} has {width} x {height} pixels; at most {settings.image_pixels:,} are accepted.",
            where=field,
        )
    archives.check_size(stored.size, len(data), limits, field)
    return open_stored(stored)


def _load(files: filesets.FileSet, name: str, max_pixels: int) -> Pixels:
    return load_image(files.read(name), legible(name), max_pixels)


def _is_npz(data: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {"mu.npy", "sigma.npy"} <= set(archive.namelist())
    except Exception:  # archives.py says what is wrong with it
        return False


def _statistics(data: bytes, name: str, field: str) -> FeatureSet:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(info.file_size for info in archive.infolist()) > _NPZ_BYTES:
            raise LimitError(f"{name} unpacks to more than statistics need.", where=field)
    return from_npz(data, name)

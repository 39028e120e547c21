"""Training images, and the stream that deals them out.

A data set is decoded once, to uint8 at its training size, and stays in memory: 50,000 CIFAR-10 images take 154 MB,
1,334 photos at 286 px take 327 MB. What is larger is mapped from a file (`packed.py`). A batch is then an index, a flip
and a crop, well under a millisecond, so loading is not the bottleneck; the log's `data_share` is the measured proof of
it for each run.

The stream is stateless: image number i of the run is a function of (seed, i) alone. So a resumed run goes on with
the very image it would have seen, and several processes take their slices of one and the same order.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from PIL import Image

from models import GanError, ImageError, InputError, centre_square, decode, filesets, upright
from models.images import Pixels
from training.data.decoded import Decoded, Decoding, digests_of, in_memory
from training.data.layouts import Arrays, Files, Split, find, find_domain
from training.data.packed import packed
from training.data.sources import open_source

LISTED = 10  # broken files named in one message
FAKE_IMAGES = 64


@dataclass(frozen=True)
class Keep:
    """What becomes of a source's images: broken ones are left out or refused; all are kept in memory, or mapped from a
    file in the folder `packed`."""

    skip_broken: bool = False
    packed: str = ""


WHOLE = Keep()  # all in memory, and none of them broken


@dataclass(frozen=True)
class Dataset:
    """Images as uint8 [n, h, w, c] with optional labels [n], all at one size.

    `skipped` lists the files that did not decode, with the reason, where the run was told to go on without them.
    `known_digest` is that of images which are mapped from a file.
    """

    name: str
    pixels: torch.Tensor
    labels: torch.Tensor | None = None
    classes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    known_digest: str | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def nbytes(self) -> int:
        """Bytes that have to be in memory: of mapped images, none."""
        return 0 if self.known_digest else self.pixels.nbytes

    @cached_property
    def digest(self) -> str:
        """SHA-256 over shape, pixels and labels: two runs with one digest learn from the same images."""
        if self.known_digest:
            return self.known_digest
        alone, labelled = digests_of(self.pixels, self.labels)
        return labelled or alone


def load_images(
    path: str, size: int, channels: int, *, conditional: bool = False, keep: Keep = WHOLE, split: Split = "train"
) -> Dataset:
    """Reads the data of a sampler's run: `fake`, or a folder or .zip in any layout of `training.data.layouts`.

    Args:
        split: "test" for the images that a run with this data does not learn from.
    Raises:
        InputError: nothing there, an image that does not decode (unless `skip_broken`), labels asked of data that
            has none, or a folder of packs that cannot be used (`packed`).
        LimitError: images that are to be kept in memory, and are more than this machine has.
    """
    if path == "fake":
        pixels = _fake(FAKE_IMAGES, size, channels, seed=0)
        labels = torch.arange(FAKE_IMAGES) % 2 if conditional else None
        return Dataset("fake", pixels, labels, ("even", "odd") if conditional else ())
    source = open_source(path)
    found = find(source, split)
    if conditional and len(found.classes) < 2:
        raise InputError(
            f"--conditional needs two classes or more: {source.name} should have one folder per class.",
            where="conditional",
        )
    decoded, kept = _read(path, split, found, source, size, channels, keep)
    skipped = tuple(decoded.faults.values())
    if not conditional:
        return Dataset(source.name, decoded.pixels, skipped=skipped, known_digest=decoded.digest)
    labels = torch.tensor(found.labels)[kept]
    _check_labels(source.name, labels, found.classes)
    return Dataset(source.name, decoded.pixels, labels, found.classes, skipped, decoded.labelled_digest)


def load_labelled(path: str, size: int, channels: int) -> tuple[Dataset, Dataset]:
    """The training and the test images of a data set with classes.

    Raises:
        InputError: there are none, or they have no classes, or not the same ones.
    """
    train = load_images(path, size, channels, conditional=True, split="train")
    test = load_images(path, size, channels, conditional=True, split="test")
    if test.classes != train.classes:
        raise InputError(f"--data {path}: training and test images have other classes.", where="data")
    return train, test


def _check_labels(name: str, labels: torch.Tensor, classes: tuple[str, ...]) -> None:
    """Raises InputError where a class has no image that is left, or a label has no class."""
    seen = set(labels.tolist())
    if missing := [repr(label) for index, label in enumerate(classes) if index not in seen]:
        raise InputError(f"{name}: there is no usable image of class {', '.join(missing)}.", where="conditional")
    if unknown := seen - set(range(len(classes))):
        raise InputError(f"{name}: labels {sorted(unknown)} stand for no class.", where="conditional")


def load_domain(path: str, domain: str, size: int, keep: Keep = WHOLE) -> Dataset | None:
    """Reads one domain ("trainA", ...) of a translator's data; None where a test domain is not there.

    Raises:
        InputError, LimitError: as `load_images`.
    """
    if path == "fake":
        seed = 1 + ("trainA", "trainB", "testA", "testB").index(domain)
        return Dataset("fake", _fake(FAKE_IMAGES // 4, size, 3, seed))
    source = open_source(path)
    found = find_domain(source, domain)
    if not found.names:
        return None
    decoded, _ = _read(path, domain, found, source, size, 3, keep)
    skipped = tuple(decoded.faults.values())
    return Dataset(source.name, decoded.pixels, skipped=skipped, known_digest=decoded.digest)


def _read(
    path: str, what: str, found: Files | Arrays, source: filesets.FileSet, size: int, channels: int, keep: Keep
) -> tuple[Decoded, torch.Tensor]:
    """The images, and the numbers [n] of those that were kept."""
    decoding = Decoding(source.name, len(found), size, channels, _one(source, found, size, channels), found.labels)
    decoded = packed(keep.packed, path, what, decoding) if keep.packed else in_memory(decoding)
    faults = tuple(decoded.faults.values())
    if faults and not keep.skip_broken:
        more = f"\n  ... and {len(faults) - LISTED} more" if len(faults) > LISTED else ""
        raise InputError(
            f"{len(faults)} of {len(found)} images in {source.name} cannot be used:\n  "
            + "\n  ".join(faults[:LISTED])
            + f"{more}\nRepair or remove them, or go on without them by --skip-broken.",
            where="data",
        )
    if len(faults) == len(found):
        raise InputError(f"None of the {len(found)} images in {source.name} can be used.", where="data")
    return decoded, torch.tensor([number for number in range(len(found)) if number not in decoded.faults])


def _one(source: filesets.FileSet, found: Files | Arrays, size: int, channels: int) -> Callable[[int], Pixels]:
    def of_array(number: int) -> Pixels:
        assert isinstance(found, Arrays)
        return _fit(Image.fromarray(found.pixels[number].squeeze()), size, channels, f"image {number}")

    def of_file(number: int) -> Pixels:
        assert isinstance(found, Files)
        name = found.names[number]
        try:
            return _fit(upright(decode(source.read(name), name=name)), size, channels, name)
        except (GanError, OSError) as error:
            if name in str(error):
                raise
            raise ImageError(f"{name}: {error}") from error  # some know pixels only

    return of_array if isinstance(found, Arrays) else of_file


def _fit(image: Image.Image, size: int, channels: int, name: str) -> Pixels:
    """One image as uint8 [size, size, channels]: scaled by its shorter side (antialiased), cut at the centre."""
    if min(image.size) * 16 < size:
        raise ImageError(f"{name}: {image.width} x {image.height} pixels are too few to make {size} x {size} of.")
    return centre_square(image, size, channels)


def _fake(count: int, size: int, channels: int, seed: int) -> torch.Tensor:
    """Smooth coloured blots, uint8 [count, size, size, channels]: enough to see that a run runs."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, 4, 4, channels), np.uint8)
    images = [Image.fromarray(image.squeeze()).resize((size, size), Image.Resampling.BICUBIC) for image in coarse]
    return torch.from_numpy(np.stack([np.asarray(image).reshape(size, size, channels) for image in images]))


class Stream:
    """Deals out a data set's images at their training size, and counts the seconds that this takes.

    Args:
        seed: of the order; see `indices`.
        size: side in pixels that images are cropped to.
        flips: whether half of them are mirrored.
        share: this process's part of a batch of so many images.
    """

    def __init__(
        self,
        data: Dataset,
        seed: int,
        size: int,
        *,
        flips: bool,
        device: torch.device,
        share: Callable[[int], slice] = slice,
    ) -> None:
        self.data, self.seed, self.size, self.flips = data, seed, size, flips
        self.device, self.share = device, share
        self.seconds = 0.0

    def take(self, start: int, count: int, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The run's images start..start + count, as `batch` gives them, with their labels where there are any."""
        started = time.perf_counter()
        chosen, share = indices(self.seed, start, start + count, len(self.data)), self.share(count)
        images = batch(
            self.data.pixels, chosen, self.size, flips=self.flips, random=random, device=self.device, share=share
        )
        labels = None if self.data.labels is None else self.data.labels[chosen[share]].to(self.device)
        self.seconds += time.perf_counter() - started
        return images, labels


def spread(count: int, total: int) -> torch.Tensor:
    """[count]: numbers from 0 below `total`, rising, evenly spaced over all of them."""
    return torch.arange(count) * total // count


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(count))


def indices(seed: int, start: int, stop: int, count: int) -> torch.Tensor:
    """[stop - start]: which of `count` images the run sees as its images start..stop. Each epoch is a permutation."""
    numbers = np.arange(start, stop)
    parts = [
        _order(seed, epoch, count)[numbers[numbers // count == epoch] % count]
        for epoch in range(start // count, (stop - 1) // count + 1)
    ]
    return torch.cat(parts)


def batch(
    pixels: torch.Tensor,
    chosen: torch.Tensor,
    size: int,
    *,
    flips: bool,
    random: torch.Generator,
    device: torch.device,
    share: slice = slice(None),
) -> torch.Tensor:
    """The chosen images as float32 [b, c, size, size] in [-1, 1] on `device`, flipped and cropped at random.

    Flips and crops are drawn for all of `chosen`, from `random` on the CPU; `share` is the part of them that this
    process makes. The memory layout comes out channels last. Bytes travel to the device, not floats.
    """
    side = pixels.shape[1]
    mirrored = (torch.rand(len(chosen), generator=random) < 0.5)[share]
    corners = torch.randint(0, side - size + 1, (len(chosen), 2), generator=random)[share]
    chosen = chosen[share]
    if side > size:
        offsets = torch.arange(size)
        rows = (corners[:, :1] + offsets)[:, :, None]  # [b, size, 1]
        columns = (corners[:, 1:] + offsets)[:, None, :]  # [b, 1, size]
        images = pixels[chosen[:, None, None], rows, columns]  # [b, size, size, c]
    else:
        images = pixels[chosen]
    if flips:
        images = torch.where(mirrored[:, None, None, None], images.flip(2), images)
    images = images.to(device, non_blocking=True)
    return images.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)

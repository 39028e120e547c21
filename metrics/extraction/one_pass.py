"""One pass over a set gives all that its scores need, and a cache remembers it by the set's digest."""

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from metrics.distributed import World, world
from metrics.extraction.extractor import Extractor, Progress, stream_features
from metrics.extraction.protocols import Protocol
from metrics.extraction.sources import READING, Images
from metrics.sets.featuresets import FEATURE_LIMIT, FeatureSet
from metrics.sets.moments import Accumulator, Features
from models import GanError

_log = logging.getLogger("gan")


def extract(
    images: Images,
    network: Extractor,
    protocol: Protocol,
    *,
    keep: bool = True,
    workers: int = 2,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> FeatureSet:
    """One pass over the images. Under torchrun every process takes its part, and every process gets the whole.

    Args:
        keep: keep the features, up to FEATURE_LIMIT images.
        workers: decoding threads.
        progress: progress(done, total) after every batch.
        cache: a folder where features are kept under a digest of the images' content, and found again. One that
            cannot be read or written costs the keeping, not the result: a warning goes to the log.
    Raises:
        InputError and its kin: fewer than two images, one that cannot be decoded, features not finite.
    """
    everyone = world()
    kept_in = _cache_path(cache, images, network, protocol) if cache and keep else None
    if kept_in and everyone.size == 1:  # on several machines the processes might find differently
        found = _found(kept_in)
        if found:
            return replace(found, name=images.name)
    accumulator = Accumulator(network.dimensions)
    kept: list[Features] = []
    part = (everyone.rank, everyone.size)
    for features in stream_features(images, network, protocol, workers=workers, progress=progress, part=part):
        accumulator.add(features)
        keep = keep and accumulator.n * everyone.size <= FEATURE_LIMIT
        if keep:
            kept.append(features)
        else:
            kept.clear()
    mine = np.concatenate(kept) if kept else np.empty((0, network.dimensions), np.float32)
    accumulator, whole, keep = _combined(everyone, accumulator, mine, keep)
    statistics = accumulator.statistics(protocol.name, network.name, network.precision)
    result = FeatureSet(images.name, statistics, whole if keep else None)
    if kept_in and keep and everyone.first:
        _keep(result, kept_in)
    return result


def _combined(
    everyone: World, accumulator: Accumulator, features: Features, keep: bool
) -> tuple[Accumulator, Features, bool]:
    """The whole out of every process's part, the same in each of them.

    Process i of k had images i, i + k, i + 2k, ..; the whole has features only if all processes kept theirs.
    """
    if everyone.size == 1:
        return accumulator, features, keep
    parts: list[tuple[Accumulator, Features, bool]] = everyone.share((accumulator, features, keep))
    merged = Accumulator(accumulator.dimensions)
    if not all(kept for _, _, kept in parts):
        for part, _, _ in parts:
            merged.merge(part)
        return merged, features[:0], False
    whole = np.empty((sum(len(some) for _, some, _ in parts), accumulator.dimensions), np.float32)
    for rank, (_, some, _) in enumerate(parts):
        whole[rank :: everyone.size] = some
    merged.add(whole)  # in the images' own order: bit for bit what one process sums
    return merged, whole, True


def _cache_path(folder: Path, images: Images, network: Extractor, protocol: Protocol) -> Path | None:
    if images.digest is None:
        return None
    key = "\n".join([images.digest(), READING, protocol.name, network.name, network.precision])
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"


def _found(path: Path) -> FeatureSet | None:
    try:
        return FeatureSet.load(path) if path.exists() else None
    except (GanError, OSError):  # a damaged file is made again
        return None


def _keep(features: FeatureSet, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        features.save(path)
    except OSError as error:
        _log.warning("The features were not kept for the next time: %s: %s.", path.parent, error.strerror or error)

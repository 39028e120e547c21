"""One pass over a set gives all that its scores need, and a cache remembers it by the set's digest."""

import contextlib
import hashlib
from pathlib import Path

import numpy as np

from metrics.extraction import parallel
from metrics.extraction.extractor import Extractor, Progress, stream_features
from metrics.extraction.protocols import Protocol
from metrics.extraction.sources import Images
from metrics.sets.featuresets import FEATURE_LIMIT, FeatureSet
from metrics.sets.moments import Accumulator, Features
from models import InputError


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
        cache: a folder where features are kept under a digest of the images' content, and found again.
    Raises:
        InputError and its kin: fewer than two images, one that cannot be decoded, features not finite.
    """
    rank, world = parallel.rank_and_world()
    kept_in = _cache_path(cache, images, network, protocol) if cache and keep else None
    if kept_in and kept_in.exists() and world == 1:  # on several machines the processes might find differently
        with contextlib.suppress(InputError):  # a damaged file is made again
            return FeatureSet(images.name, (found := FeatureSet.load(kept_in)).statistics, found.features)
    accumulator = Accumulator(network.dimensions)
    kept: list[Features] = []
    for features in stream_features(images, network, protocol, workers=workers, progress=progress, part=(rank, world)):
        accumulator.add(features)
        keep = keep and accumulator.n * world <= FEATURE_LIMIT
        if keep:
            kept.append(features)
        else:
            kept.clear()
    part = np.concatenate(kept) if kept else np.empty((0, network.dimensions), np.float32)
    if world > 1:
        accumulator, part, keep = parallel.combine(accumulator, part, keep)
    statistics = accumulator.statistics(protocol.name, network.name, network.precision)
    whole = FeatureSet(images.name, statistics, part if keep else None)
    if kept_in and keep and rank == 0:
        kept_in.parent.mkdir(parents=True, exist_ok=True)
        whole.save(kept_in)
    return whole


def _cache_path(folder: Path, images: Images, network: Extractor, protocol: Protocol) -> Path | None:
    if images.digest is None:
        return None
    key = "\n".join([images.digest(), protocol.name, network.name, network.precision])
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"

"""`score`: the one function behind the service's /score, the trainer's FID and the command line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metrics.extraction import Extractor, Progress, stream_features
from metrics.extraction import extractor as make_extractor
from metrics.frechet import frechet_distance
from metrics.moments import Accumulator, Statistics
from metrics.protocols import protocol_named
from metrics.sources import open_images
from models import InputError

METRICS = ("fid",)


def statistics(
    source: object,
    *,
    protocol: str = "pytorch-fid",
    extractor: Extractor | None = None,
    workers: int = 2,
    progress: Progress | None = None,
) -> Statistics:
    """Streaming statistics of a set of images, in memory that does not grow with their number.

    Args:
        source: anything `open_images` takes, or an `.npz` file of statistics.
        protocol: "pytorch-fid" or "clean-fid".
        extractor: by default the Inception.
        workers: decoding threads.
        progress: progress(done, total) after every batch.
    Raises:
        InputError and its kin: see `open_images`; fewer than two images.  WeightsUnavailable.
    """
    if (given := _given_statistics(source)) is not None:
        return given
    rules = protocol_named(protocol)
    images = open_images(source)
    network = extractor or make_extractor()
    accumulator = Accumulator(network.dimensions)
    for features in stream_features(images, network, rules, workers=workers, progress=progress):
        accumulator.add(features)
    return accumulator.statistics(protocol=rules.name, extractor=network.name, precision=network.precision)


def _given_statistics(source: object) -> Statistics | None:
    if isinstance(source, Statistics):
        return source
    if isinstance(source, str | Path) and Path(source).suffix == ".npz":
        return Statistics.load(source)
    return None


def score(
    a: object,
    b: object,
    *,
    metrics: Sequence[str] = ("fid",),
    protocol: str = "pytorch-fid",
    extractor: Extractor | None = None,
    workers: int = 2,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """How far the images `a` (generated) are from the images `b` (real).

    Args:
        a, b: folders, `.zip`/`.tar` archives, `.npz` statistics, `Statistics`, uint8 arrays [n, h, w, 3], `Samples`
            of a checkpoint, or iterables of images (see `open_images`).
        metrics: of "fid".
        protocol: "pytorch-fid" or "clean-fid".
        extractor: by default the Inception; anything of the protocol `Extractor` serves.
        workers: decoding threads.
        progress: progress(done, total) after every batch, over both sets; raising from it cancels.
    Returns:
        {"fid": {"value": ..}, "a": {"n": ..}, "b": {"n": ..}, "protocol": .., "extractor": .., ..}
    Raises:
        InputError and its kin, NotFoundError, WeightsUnavailable.
    """
    for name in metrics:
        if name not in METRICS:
            raise InputError(f"Unknown metric {name!r}: use {', '.join(METRICS)}.", where="metrics")
    first = statistics(a, protocol=protocol, extractor=extractor, workers=workers, progress=progress)
    second = statistics(b, protocol=protocol, extractor=extractor, workers=workers, progress=progress)
    return {
        "fid": {"value": frechet_distance(first, second)},
        "a": {"n": first.n},
        "b": {"n": second.n},
        "protocol": protocol,
    }

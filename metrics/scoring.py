"""`score`: the one function behind the service's /score, the trainer's FID and the command line."""

import functools
import importlib.metadata
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metrics.distributed import world
from metrics.extraction import one_pass
from metrics.extraction.arrays import stored_images
from metrics.extraction.custom import CustomExtractor
from metrics.extraction.extractor import Extractor, InceptionExtractor, Progress
from metrics.extraction.extractor import extractor as make_extractor
from metrics.extraction.protocols import protocol_named
from metrics.extraction.sources import Images, open_images
from metrics.network.weights import classifier_missing
from metrics.scores.frechet import check_comparable
from metrics.scores.resampling import Counts, resample_counts
from metrics.scores.table import METRICS, TABLE, Comparison, Metric, Side
from metrics.sets.featuresets import FeatureSet, check_kept
from metrics.sets.moments import Features, Origin, Statistics
from models import InputError, check_seed, legible

REPLICATES = 200
_SIDES = {"neither": (), "generated": ("a",), "both": ("a", "b")}  # whose features a row needs
_PACKAGES = ("numpy", "pillow", "torch")  # whose versions a score may depend on


def features(
    source: object,
    *,
    protocol: str = "pytorch-fid",
    extractor: Extractor | None = None,
    keep: bool = True,
    workers: int = 2,
    progress: Progress | None = None,
    cache: str | Path | None = None,
) -> FeatureSet:
    """One pass over a set of images: its statistics and its features, to be scored again and again.

    Args:
        source: anything `open_images` takes, or statistics or features made before: a `FeatureSet`, `Statistics`,
            or the path of an `.npz` of either.
        protocol: "pytorch-fid" or "clean-fid".
        extractor: by default the Inception, loaded once.
        keep: False keeps the statistics only, in memory that does not grow with the images.
        workers: decoding threads.
        progress: progress(done, total) after every batch; total is 0 where it is not known.
        cache: a folder that keeps features under a digest of the images.
    Raises:
        InputError and its kin, for images that are none and sets of fewer than two.  NotFoundError.
        WeightsUnavailable.
    """
    if isinstance(source, FeatureSet):
        return source
    if isinstance(source, Statistics):
        return FeatureSet("statistics", source)
    if isinstance(source, str | Path) and holds_numbers(Path(source)):
        return FeatureSet.load(source)
    rules, images = protocol_named(protocol), open_images(source)
    network = extractor or _inception()
    return one_pass.extract(
        images, network, rules, keep=keep, workers=workers, progress=progress, cache=Path(cache) if cache else None
    )


def statistics(
    source: object,
    *,
    protocol: str = "pytorch-fid",
    extractor: Extractor | None = None,
    workers: int = 2,
    progress: Progress | None = None,
) -> Statistics:
    """`features` without the features: n, mean and covariance, in constant memory."""
    found = features(source, protocol=protocol, extractor=extractor, keep=False, workers=workers, progress=progress)
    return found.statistics


@functools.cache
def _inception() -> InceptionExtractor:
    return make_extractor()


def score(
    a: object,
    b: object = None,
    *,
    held_out: object = None,
    metrics: Sequence[str] = ("fid",),
    protocol: str = "pytorch-fid",
    extractor: Extractor | None = None,
    bootstrap: int = REPLICATES,
    seed: int = 0,
    workers: int = 2,
    progress: Progress | None = None,
    cache: str | Path | None = None,
) -> dict[str, Any]:
    """How far the generated images `a` are from the real images `b`, and how far to trust the figure.

    Args:
        a, b: folders, `.zip` or `.tar` archives, `.npz` files, `Statistics`, `FeatureSet`, uint8 arrays
            [n, h, w, 3], `Samples` of a checkpoint, or iterables of images (see `open_images`). b may be left out
            where only "is" is asked for.
        held_out: for "data_copying" alone, real images that the model was not trained on; b are those it was.
        metrics: any of "fid", "kid", "prdc", "authenticity", "data_copying", "is", "fid_infinity"; all from one pass
            over each set.
        protocol: "pytorch-fid" or "clean-fid".
        extractor: by default the Inception, loaded once; anything of the protocol `Extractor` serves.
        bootstrap: resamples for the 95% intervals; 0 leaves them out, and then FID alone keeps no features.
        seed: of resamples, subsets and the floor's draws.
        workers: decoding threads.
        progress: progress(done, total) after every batch, over both sets; raising from it cancels cleanly.
        cache: a folder that keeps features under a digest of the images.
    Returns:
        Every metric asked for under its name ("prdc" as "precision", "recall", "density", "coverage"), each with
        "value" and "interval" ([low, high], or None); "fid" also with "reliable", "verdict" and "floor";
        "a" and "b" (and "held_out") with their counts and what was left out; "protocol", "extractor", "versions".
        Ready for JSON.
    Raises:
        InputError and its kin (images, parameters, sets too small), NotFoundError, LimitError (a metric that needs
        features, of a set larger than FEATURE_LIMIT), WeightsUnavailable.
    """
    rows = _rows(metrics)
    _check(rows, b, held_out, bootstrap, seed)
    protocol_named(protocol)
    keep = bootstrap > 0 or any(row.features != "neither" for row in rows)
    given = {"a": a, "b": b, "held_out": held_out}
    sources = {name: _opened(source) for name, source in given.items() if source is not None}
    if extractor is None and (
        any(row.classifier for row in rows) or any(isinstance(one, Images) for one in sources.values())
    ):
        extractor = _inception()
    _check_sets(sources, rows, protocol, extractor)
    shared = _shared(progress, list(sources.values()))
    sets = {
        name: features(
            source, protocol=protocol, extractor=extractor, keep=keep, workers=workers, progress=tell, cache=cache
        )
        for (name, source), tell in zip(sources.items(), shared, strict=True)
    }
    generator = np.random.default_rng(seed)
    sides = {name: Side(one, _counts(one, bootstrap, generator)) for name, one in sets.items()}
    logits = extractor.logits if extractor else _no_logits
    asked = Comparison(sides["a"], sides.get("b", sides["a"]), sides.get("held_out"), seed, logits)
    result: dict[str, Any] = {}
    for row in rows:
        result |= row.measure(asked)
    described = {name: _description(one, sources[name]) for name, one in sets.items()}
    origins = [one.statistics.origin for one in sets.values()]
    return result | {
        "b": None,
        **described,
        "protocol": origins[0].protocol or origins[-1].protocol,
        "extractor": origins[0].extractor or origins[-1].extractor,
        "bootstrap": bootstrap,
        "seed": seed,
        "versions": versions(extractor),
    }


def versions(extractor: Extractor | None) -> dict[str, str]:
    """Of the packages that a score may depend on; OpenVINO and ONNX Runtime are, where they ran the network."""
    compiled = isinstance(extractor, InceptionExtractor) and extractor.backend == "openvino"
    packages = (*_PACKAGES, "openvino") if compiled else _PACKAGES
    found = {package: importlib.metadata.version(package) for package in packages}
    if isinstance(extractor, CustomExtractor) and extractor.backend == "onnxruntime":
        # asked of the module: the packages that hold it have several names
        found["onnxruntime"] = importlib.import_module("onnxruntime").__version__
    return found


def _rows(names: Sequence[str]) -> list[Metric]:
    """The table's rows of these metrics, each once."""
    if isinstance(names, str) or not names:
        raise InputError(f"Name at least one metric, in a list: {', '.join(METRICS)}.", where="metrics")
    for name in names:
        if name not in TABLE:
            raise InputError(f"Unknown metric {name!r}: use any of {', '.join(METRICS)}.", where="metrics")
    return [TABLE[name] for name in dict.fromkeys(names)]


def _check(rows: Sequence[Metric], b: object, held_out: object, bootstrap: int, seed: int) -> None:
    if b is None and any(row.sides == 2 for row in rows):
        raise InputError("Only Inception Score does without real images: give them as b.", where="b")
    if (held_out is None) == any(row.held_out for row in rows):
        asking = ", ".join(row.name for row in TABLE.values() if row.held_out)
        raise InputError(
            f"{asking} compares with real images that the model was not trained on, and nothing else does: give "
            "them as held_out where it is asked for, and only there.",
            where="held_out",
        )
    if not 0 <= bootstrap <= 10_000:
        raise InputError(f"Bootstrap is a number of resamples from 0 to 10,000, not {bootstrap}.", where="bootstrap")
    check_seed(seed)


def _check_sets(
    sources: Mapping[str, Images | FeatureSet], rows: Sequence[Metric], protocol: str, extractor: Extractor | None
) -> None:
    """Raises for what the sets make impossible before any image is read, which may take hours."""
    origins = [Origin(None, extractor.name, extractor.dimensions)] if extractor else []
    for source in sources.values():
        if isinstance(source, FeatureSet):
            origins.append(source.statistics.origin)
        elif extractor:
            origins.append(Origin(protocol, extractor.name, extractor.dimensions))
    for one, other in itertools.combinations(origins, 2):
        check_comparable(one, other)
    needed = {name for row in rows for name in _SIDES[row.features]} | ({"held_out"} & sources.keys())
    for source in (sources[name] for name in sources if name in needed):
        if isinstance(source, FeatureSet):
            source.needed()
        elif source.count is not None:
            check_kept(source.name, source.count)
    if extractor and any(row.classifier for row in rows):
        extractor.logits(np.empty((0, extractor.dimensions), np.float32))  # whether it has a classifier


def holds_numbers(path: Path) -> bool:
    """Whether a file is an `.npz` of statistics or features, and not of images."""
    return path.suffix == ".npz" and stored_images(path, legible(path.name)) is None


def _opened(source: object) -> Images | FeatureSet:
    """Opens both sets before any work: a wrong second path should not cost the first one's extraction."""
    made_before = isinstance(source, Statistics | FeatureSet) or (
        isinstance(source, str | Path) and holds_numbers(Path(source))
    )
    return features(source) if made_before else open_images(source)


def _shared(progress: Progress | None, sources: Sequence[Images | FeatureSet]) -> list[Progress | None]:
    """One progress over all the sets that are extracted, of this process's part of them."""
    if progress is None:
        return [None] * len(sources)
    here = world()
    images = [source.count if isinstance(source, Images) else 0 for source in sources]
    known = [len(range(here.rank, count, here.size)) for count in images if count is not None]
    total = sum(known) if len(known) == len(images) else 0
    finished = [0] * len(sources)

    def tell(index: int) -> Progress:
        def call(done: int, _total: int) -> None:
            finished[index] = done
            progress(sum(finished), total)

        return call

    return [tell(index) for index in range(len(sources))]


def _counts(side: FeatureSet, bootstrap: int, generator: np.random.Generator) -> Counts | None:
    if side.features is None or not bootstrap:
        return None
    return resample_counts(len(side.features), bootstrap, generator)


def _no_logits(_features: Features) -> np.ndarray:
    raise classifier_missing()  # never called: a row that needs a classifier has an extractor


def _description(side: FeatureSet, source: Images | FeatureSet) -> dict[str, Any]:
    """What a result says of a set, with the files beside its images that were left out, and why."""
    return {
        "name": side.name,
        "n": side.statistics.n,
        "precision": side.statistics.precision,
        "skipped": source.left_out if isinstance(source, Images) else None,
    }

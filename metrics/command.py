"""Command line: score two sets of images, keep the statistics of one, or fetch the weights.

    python -m metrics score generated/ real.npz --metrics fid,kid
    python -m metrics score model.safetensors real/ --samples 10000 --seed 0
    python -m metrics score generated/ real/ --extractor classifier.safetensors
    python -m metrics stats real/ real.npz
    torchrun --nproc-per-node 2 -m metrics stats real/ real.npz

The result is JSON on standard output, progress goes to standard error. Exit status: 0; 2 with a sentence
on standard error; 130 where it was interrupted.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from metrics import scoring
from metrics.distributed import joined, world
from metrics.extraction.custom import custom_extractor
from metrics.extraction.extractor import Backend, Extractor, Precision, Progress, extractor
from metrics.extraction.protocols import PROTOCOLS
from metrics.extraction.sources import Samples
from metrics.network import weights
from models import GanError, InputError, WeightsUnavailable, commandline, console, legible, strict_json

_FEATURES = "features"  # a folder inside the cache
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"  # never seconds an image


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    console.ready()
    options = _parser().parse_args(arguments)
    try:
        with joined() as here:
            answer = options.run(options)
            if here.first:
                console.answer(strict_json.dumps(answer, indent=2))
    except (GanError, OSError) as error:  # the latter: an output that cannot be written, a disk that is full
        _StandardError().write(f"error: {console.sentence(error)}\n")
        return 2
    except KeyboardInterrupt:
        _StandardError().write("Interrupted. Sets that were extracted whole are in the cache, unless --no-cache.\n")
        return 130
    return 0


class _StandardError:
    """Standard error, whose reader may leave (`2>&1 | head`) without ending the work."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


def _parser() -> commandline.Parser:
    parser = commandline.Parser(prog="python -m metrics", description="Scores of generated images.")
    commands = parser.add_subparsers(required=True, metavar="command")
    sets = "a folder, a .zip or .tar archive, an .npz of images or statistics, or a generator's .safetensors"

    score = commands.add_parser("score", help="compare two sets of images")
    score.add_argument("a", type=commandline.place, help=f"generated images: {sets}")
    score.add_argument("b", type=commandline.place, nargs="?", help=f"real images: {sets}")
    score.add_argument(
        "--held-out",
        type=commandline.place,
        metavar="SET",
        help="for data_copying: real images that were not trained on",
    )
    score.add_argument("--metrics", default="fid", help=f"separated by commas, of {','.join(scoring.METRICS)}")
    score.add_argument("--bootstrap", type=int, default=scoring.REPLICATES, help="resamples for the intervals; 0: none")
    _extraction_options(score)
    score.set_defaults(run=_score)

    stats = commands.add_parser("stats", help="write the statistics of a set, as pytorch-fid reads them")
    stats.add_argument("source", type=commandline.place, help=sets)
    stats.add_argument("out", type=Path, help="the .npz to write")
    stats.add_argument("--features", action="store_true", help="keep the features in it too, for metrics beside FID")
    _extraction_options(stats)
    stats.set_defaults(run=_stats)

    fetch = commands.add_parser("fetch", help="fetch the Inception weights into the cache")
    fetch.set_defaults(run=_fetch)
    return parser


def _extraction_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--extractor", metavar="FILE", help="in Inception's place: a classifier's .safetensors, or an .onnx network")
    add("--protocol", choices=list(PROTOCOLS), default="pytorch-fid", help="how images are resized")
    add("--precision", choices=get_args(Precision), default="float32", help="the others are faster and less exact")
    add("--backend", choices=get_args(Backend), default="torch", help="openvino: an optional extra for CPUs")
    add("--device", help="a torch device; by default cuda where there is one")
    add("--batch-size", type=int, help="images the network sees at a time")
    add("--workers", type=commandline.within(1, 256), default=2, help="decoding threads")
    add("--samples", type=int, default=10_000, help="images to draw from a checkpoint")
    add("--seed", type=int, default=0, help="of a checkpoint's first sample, of resamples and subsets")
    add("--weights", help="Inception weights to use (default: GAN_INCEPTION_WEIGHTS, the cache, the registry)")
    add("--no-cache", action="store_true", help="neither look for kept features nor keep them")


def _score(options: argparse.Namespace) -> dict[str, Any]:
    names = [name.strip() for name in options.metrics.split(",")]
    with _progress_bar() as tell:
        return scoring.score(
            _source(options.a, options),
            _source(options.b, options) if options.b else None,
            held_out=_source(options.held_out, options) if options.held_out else None,
            metrics=names,
            protocol=options.protocol,
            extractor=_extractor(options, [options.a, options.b, options.held_out], classifier="is" in names),
            bootstrap=options.bootstrap,
            seed=options.seed,
            workers=options.workers,
            progress=tell,
            cache=_cache(options),
        )


def _stats(options: argparse.Namespace) -> dict[str, Any]:
    out: Path = options.out
    _check_out(out, Path(options.source))
    network = _extractor(options, [options.source])
    with _progress_bar() as tell:
        found = scoring.features(
            _source(options.source, options),
            protocol=options.protocol,
            extractor=network,
            keep=options.features,
            workers=options.workers,
            progress=tell,
            cache=_cache(options),
        )
    if world().first:
        found.save(out)
    known = found.statistics
    return {
        "out": legible(str(out)),
        "n": known.n,
        "features": found.features is not None,
        "protocol": known.protocol,
        "extractor": known.extractor,
        "precision": known.precision,
        "versions": scoring.versions(network),
    }


def _check_out(out: Path, source: Path) -> None:
    """Raises InputError or OSError where the statistics could not be written: now, not after hours."""
    if out.suffix != ".npz" or not out.parent.is_dir():
        raise InputError(f"Cannot write {out}: give a name that ends in .npz, in a folder that exists.", where="out")
    if out.is_dir():
        raise InputError(f"Cannot write {out}: it is a folder.", where="out")
    if out.exists() and source.exists() and out.samefile(source):
        raise InputError(f"{out} is the set itself: give another name, or its features would be lost.", where="out")
    try:
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise InputError(f"Cannot write into {out.parent}: {error.strerror}.", where="out") from error


def _cache(options: argparse.Namespace) -> Path | None:
    """Where features are kept; None where they shall not be, or the user has no place for them."""
    try:
        return None if options.no_cache else weights.cached_weights().parent / _FEATURES
    except WeightsUnavailable:
        return None


def _fetch(_options: argparse.Namespace) -> dict[str, Any]:
    found = weights.load()
    return {"weights": str(found.source), "extractor": weights.EXTRACTOR, "classifier": found.has_classifier}


def _extractor(
    options: argparse.Namespace, sources: Sequence[str | None], *, classifier: bool = False
) -> Extractor | None:
    """None where every source is an `.npz` of statistics, which needs no network, and no weights to be fetched.

    Raises:
        InputError: options of the Inception beside an extractor of one's own; and as the makers of both do.
    """
    if options.extractor:
        if options.weights or options.precision != "float32" or options.backend != "torch":
            raise InputError(
                "--weights, --precision and --backend are of the Inception: leave them out beside --extractor.",
                where="extractor",
            )
        return custom_extractor(options.extractor, device=options.device, batch_size=options.batch_size)
    if not classifier and all(source is None or scoring.holds_numbers(Path(source)) for source in sources):
        return None
    return extractor(
        options.weights,
        precision=options.precision,
        backend=options.backend,
        device=options.device,
        batch_size=options.batch_size,
    )


def _source(text: str, options: argparse.Namespace) -> object:
    path = Path(text)
    return Samples(path, options.samples, options.seed) if path.suffix == ".safetensors" else path


@contextmanager
def _progress_bar() -> Iterator[Progress]:
    """Images and images/s on standard error, from the first process only; nothing before there is progress, so that no
    empty bar stands before what is said of a wrong set."""
    with ExitStack() as stack:
        bars: list[tqdm] = []

        def tell(done: int, total: int) -> None:
            if not bars:
                made = tqdm(unit=" images", bar_format=_BAR, disable=not world().first, file=_StandardError())
                bars.append(stack.enter_context(made))
            (bar,) = bars
            bar.total = total or None
            bar.update(done - bar.n)

        yield tell

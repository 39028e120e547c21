"""Golden values: what other tools and papers publish, beside what we get, with the source of each.

    python -m benchmarks.golden                                                   values that need no data set
    python -m benchmarks.golden --cifar10 DIR --reference stats.npz               + 30.4302 and 11.5495 on CIFAR-10
    python -m benchmarks.golden --cifar10 DIR --reference stats.npz --most 10000  + 5.8488 and 3.1518

DIR holds CIFAR-10 as test/<class>/<number>.png (and train/ likewise, where no --reference is given: an hour on two
cores). The exit status is 1 if a value is missed.
"""

import argparse
import contextlib
import importlib
import io
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import metrics
from benchmarks.fid_speed import FIXTURES, _published_weights

_CIFAR = {1000: 30.4302, 2500: 11.5495, 5000: 5.8488, 10_000: 3.1518}


@dataclass(frozen=True)
class Golden:
    """what: the value.  expected, found: numbers.  tolerance: absolute.  source: who says so."""

    what: str
    expected: float
    found: float
    tolerance: float
    source: str
    seconds: float

    @property
    def met(self) -> bool:
        return abs(self.found - self.expected) <= self.tolerance


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a JSON list, progress on standard error; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", type=Path, help="a folder of CIFAR-10 as PNG files")
    parser.add_argument("--reference", type=Path, help=".npz statistics of its 50,000 training images")
    parser.add_argument("--most", type=int, choices=list(_CIFAR), default=2500, help="the largest N of CIFAR-10's")
    options = parser.parse_args(arguments)
    checks = [_mean_shift(), *_prdc(), *_peers()]
    if options.cifar10:
        counts = [count for count in _CIFAR if count <= options.most]
        checks += _cifar10(options.cifar10, options.reference or options.cifar10 / "train", counts)
    print(json.dumps([asdict(check) | {"met": check.met} for check in checks], indent=2))
    return 0 if all(check.met for check in checks) else 1


def _timed(what: str, expected: float, tolerance: float, source: str, compute: Callable[[], float]) -> Golden:
    start = time.perf_counter()
    found = compute()
    golden = Golden(what, expected, found, tolerance, source, round(time.perf_counter() - start, 1))
    print(f"{'ok  ' if golden.met else 'MISS'} {what}: {found:.6g}, expected {expected:.6g}", file=sys.stderr)
    return golden


def _mean_shift() -> Golden:
    a = metrics.Statistics(np.zeros(2048), np.eye(2048))
    b = metrics.Statistics(np.ones(2048), np.eye(2048))
    return _timed(
        "FID of a unit mean shift in 2048 dimensions, equal covariance", 2048.0, 1e-6,
        "the closed form; pinned by torchmetrics and pytorch-fid's tests", lambda: metrics.frechet_distance(a, b),
    )  # fmt: skip


def _prdc() -> Iterator[Golden]:
    """Naeem et al. 2020, README of the package prdc: 10,000 real and generated N(0, I) vectors of 1,000 dimensions."""
    generator = np.random.default_rng(0)
    real, generated = (generator.standard_normal((10_000, 1000), dtype=np.float32) for _ in range(2))
    start = time.perf_counter()
    found = metrics.prdc(generated, real)
    seconds = round(time.perf_counter() - start, 1)
    source = "README of the package prdc (Naeem et al. 2020): one draw; the tolerance is another draw's"
    published = {"precision": 0.4772, "recall": 0.4705, "density": 1.0555, "coverage": 0.9735}
    for name, expected in published.items():
        golden = Golden(f"{name} of N(0, I), k = 5", expected, found[name]["value"], 0.02, source, seconds)
        print(f"{'ok  ' if golden.met else 'MISS'} {golden.what}: {golden.found:.4f}", file=sys.stderr)
        yield golden


def _peers() -> Iterator[Golden]:
    """FID of the fixtures' 28 horses against 28 zebras, by each package's own reading, resizing and network."""
    ours = metrics.extractor(device="cpu")
    with tempfile.TemporaryDirectory() as name, _quiet():
        published = _published_weights(Path(name))
        importlib.import_module("tests.torchvision_ops")
        inception = importlib.import_module("pytorch_fid.inception")
        state = torch.load(published, weights_only=True)
        vars(inception)["load_state_dict_from_url"] = lambda *_args, **_kwargs: state
        network = inception.InceptionV3([3]).eval()
        fidelity = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3(
            "peer", ["2048"], feature_extractor_weights_path=str(published)
        )
    files = [sorted(f for part in ("train", "test") for f in (FIXTURES / (part + d)).iterdir()) for d in "AB"]

    def pytorch_fid() -> float:
        package = importlib.import_module("pytorch_fid.fid_score")
        with _quiet():
            sets = [package.calculate_activation_statistics(some, network, 14, num_workers=0) for some in files]
            return float(package.calculate_frechet_distance(*sets[0], *sets[1]))

    def clean_fid() -> float:
        package = importlib.import_module("cleanfid.fid")
        trunk = torch.nn.Sequential(*network.blocks)
        with _quiet(), torch.inference_mode():
            sets = [
                package.get_files_features(
                    [str(file) for file in some], lambda batch: trunk((batch - 128) / 128).flatten(1),
                    num_workers=0, batch_size=14, device=torch.device("cpu"), verbose=False,
                )
                for some in files
            ]  # fmt: skip
            return float(package.fid_from_feats(*sets))

    def torch_fidelity() -> float:
        """Its resize is TensorFlow 1's, which no protocol of ours is: pictures of 299 pixels are left alone by both."""
        with _quiet(), torch.inference_mode():
            sets = [fidelity(torch.from_numpy(some).permute(0, 3, 1, 2))[0].numpy() for some in _at_299(files)]
            package = importlib.import_module("torch_fidelity.metric_fid")
            statistics = [package.fid_features_to_statistics(torch.from_numpy(some)) for some in sets]
            return float(package.fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"])

    for package, protocol, theirs in (
        ("pytorch-fid", "pytorch-fid", pytorch_fid),
        ("clean-fid", "clean-fid", clean_fid),
        ("torch-fidelity", "clean-fid", torch_fidelity),
    ):
        sets = _at_299(files) if package == "torch-fidelity" else files
        expected = theirs()
        yield _timed(
            f"FID of 28 horses and 28 zebras as {package}", expected, 1e-4 * expected,
            f"{package} {importlib.metadata.version(package)} run now on the same files with the same weights",
            lambda sets=sets, protocol=protocol: metrics.score(  # type: ignore[misc]
                *sets, protocol=protocol, extractor=ours, bootstrap=0
            )["fid"]["value"],
        )  # fmt: skip


def _at_299(files: Sequence[Sequence[Path]]) -> list[np.ndarray]:
    from PIL import Image

    return [np.stack([np.asarray(Image.open(file).resize((299, 299))) for file in some]) for some in files]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def _cifar10(folder: Path, reference: Path, counts: Sequence[int]) -> Iterator[Golden]:
    """The first N test images, by the number in their file name, against all training images.

    One pass: each N adds the images that the one before it lacks. Their features are kept in the feature cache, so
    that a run that was cut off goes on from there.
    """
    files = sorted((folder / "test").rglob("*.png"), key=lambda file: int(file.stem))
    if len(files) < max(counts):
        raise SystemExit(
            f"There are {len(files)} images in {folder / 'test'}, not the {max(counts)} of CIFAR-10's test set."
        )
    cache = metrics.cache_folder() / "features"
    train = metrics.statistics(reference)
    first = metrics.Accumulator(len(train.mu))
    for done, count in zip([0, *counts], counts, strict=False):
        with tqdm(total=count - done, unit=" images", file=sys.stderr) as bar:
            added = metrics.features(
                files[done:count], progress=lambda now, _total, bar=bar: bar.update(now - bar.n), cache=cache
            )  # type: ignore[misc]
        first.add(added.features)
        yield _timed(
            f"FID of CIFAR-10's first {count:,} test images against its 50,000 training images", _CIFAR[count], 0.0005,
            "the real-against-real floor, published as 30.43, 11.55, 5.85 and 3.15; digits of pytorch-fid's network",
            lambda: metrics.frechet_distance(first.statistics("pytorch-fid"), train),
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

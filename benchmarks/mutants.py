# ruff: noqa: E501 - a table of changes, one a line
"""Can the tests of metrics/ fail? Breaks one line at a time in a copy of the code and runs the tests there.

    python -m benchmarks.mutants

Prints which test caught each change; the exit status is 1 if one passed unseen. Only tests that need no weights run.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Mutant:
    """what: in words.  file: inside metrics/.  before, after: the text changed, which must occur.  tests: one file."""

    what: str
    file: str
    before: str
    after: str
    tests: str


MUTANTS = (
    Mutant("gamma left out", "foreign_weights.py", 'state[norm + "weight"].double()', "1.0", "network"),
    Mutant("batch norm epsilon of torch", "foreign_weights.py", "_BATCH_NORM_EPS = 1e-3", "_BATCH_NORM_EPS = 1e-5", "network"),
    Mutant("last block pools with an average", "inception.py", "2048, max_pool=True", "2048, max_pool=False", "network"),
    Mutant("padding counted in average pools", "inception.py", "count_include_pad=False", "count_include_pad=True", "network"),
    Mutant("resize with antialias", "protocols.py", "antialias=False", "antialias=True", "protocols"),
    Mutant("bilinear for bicubic", "protocols.py", "Resampling.BICUBIC", "Resampling.BILINEAR", "protocols"),
    Mutant("128 for 127.5", "protocols.py", "mul_(2).sub_(1)", "mul_(255 / 128).sub_(1)", "protocols"),
    Mutant("n for n - 1, small sets", "moments.py", "np.sqrt(self.n - 1)", "np.sqrt(self.n)", "moments"),
    Mutant("n for n - 1, streamed sets", "moments.py", "self._scatter / (self.n - 1)", "self._scatter / self.n", "moments"),
    Mutant("merge forgets what had left the rows", "moments.py", "if other._scatter is not None:", "if False:", "moments"),
    Mutant("means of blocks not compared", "moments.py", "scatter += np.outer(", "np.outer(", "moments"),
    Mutant("statistics file with n = 1 taken", "moments.py", "or n.item() < 2", "", "npz"),
    Mutant("pickles loaded from statistics files", "npz.py", "allow_pickle=False", "allow_pickle=True", "npz"),
    Mutant("float32 taken for bfloat16 by OpenVINO", "openvino_backend.py", "if chosen != ", "if False and chosen != ", "openvino"),
    Mutant("means left out of the distance", "frechet.py", "difference @ difference + ", "", "frechet"),
    Mutant("rank of a counted file ignored", "frechet.py", "d - statistics.n + 1", "0 * statistics.n", "frechet"),
    Mutant("protocols compared all the same", "frechet.py", "left != right", "False", "frechet"),
    Mutant("KID with its diagonal", "kernel.py", "(total - squares @ own) / pairs", "total / (pairs + squares.sum(1))", "kernel"),
    Mutant("KID kernel without 1/d", "kernel.py", "/ x.shape[1] + 1", "+ 1", "kernel"),
    Mutant("neighbours counted with oneself", "neighbours.py", "kthvalue(k + 1", "kthvalue(k", "kernel"),
    Mutant("precision and recall swapped", "neighbours.py", "(balls > 0).double()", "recalled", "kernel"),
    Mutant("intervals not centred again", "resampling.py", "values - values.mean() + value", "values", "trust"),
    Mutant("influences without the mean's part", "trust.py", "2 * centred @ difference + ", "", "trust"),
    Mutant("grey 16-bit images not asked of models", "sources.py", "models.as_pixels(models.decode(path, name=name))",
           'np.asarray(models.decode(path, name=name).convert("RGB"))', "sources"),
    Mutant("every process extracts everything", "parallel.py", "dist.get_rank(), dist.get_world_size()", "0, 1", "command"),
    Mutant("protocol missing from the cache's key", "featuresets.py", "protocol.name, network.name, network.precision]",
           "network.name, network.precision]", "score"),
)  # fmt: skip


def main() -> int:
    """Prints a JSON object {what was broken: the test that failed, or null}."""
    found = {}
    for mutant in MUTANTS:
        found[mutant.what] = caught = _caught_by(mutant)
        print(f"{'caught' if caught else 'MISSED'}  {mutant.what}: {caught}", file=sys.stderr)
    print(json.dumps(found, indent=2))
    return 0 if all(found.values()) else 1


def _caught_by(mutant: Mutant) -> str | None:
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for room in ("models", "metrics", "tests/metrics", "tests/fixtures"):
            shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        file = copy / "metrics" / mutant.file
        text = file.read_text()
        if mutant.before not in text:
            raise SystemExit(f"{mutant.what}: {mutant.file} no longer holds {mutant.before!r}")
        file.write_text(text.replace(mutant.before, mutant.after))
        tests = f"tests/metrics/test_metrics_{mutant.tests}.py"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", tests],
            cwd=copy, capture_output=True, text=True, check=False,
        )  # fmt: skip
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return failed[0].split("::")[-1].split(" - ")[0] if done.returncode == 1 and failed else None


if __name__ == "__main__":
    sys.exit(main())

"""The command line in processes of its own: alone, and split by torchrun over two."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.distributed as dist

import metrics
from metrics import distributed
from models import InputError

ROOT = Path(metrics.__file__).parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
WITHIN_S = 400  # against hanging, not a measure

SMALL = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]
import conftest, json
from metrics import command
from metrics import joined
import os, signal
class Interrupted(conftest.SmallExtractor):
    def features(self, images):
        os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C does, in the midst of the work
        return super().features(images)
chosen = Interrupted if "interrupted" in sys.argv else conftest.SmallExtractor
command.extractor = lambda *_args, **_named: chosen()
with joined():
    sys.exit(max(command.main(arguments) for arguments in json.loads(sys.argv[1])))
"""


@pytest.fixture
def small_program(tmp_path: Path) -> str:
    """`python -m metrics` over the small extractor, as a file to run; its argument is a JSON list of command lines."""
    (tmp_path / "small.py").write_text(SMALL)
    return str(tmp_path / "small.py")


@pytest.fixture
def folder(horses: Path, tmp_path: Path) -> Path:
    """Seven images: an odd number, so that the parts of two processes differ."""
    (tmp_path / "set").mkdir()
    for file in sorted(horses.iterdir())[:7]:
        (tmp_path / "set" / file.name).write_bytes(file.read_bytes())
    return tmp_path / "set"


def run(command: Sequence[str | Path], cache: Path) -> subprocess.CompletedProcess[str]:
    """The command in a clean environment: one thread, its own cache, nobody else's process group."""
    kept = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    done = subprocess.run(
        [str(part) for part in command], env=kept | {"OMP_NUM_THREADS": "1", "GAN_CACHE": str(cache)}, cwd=ROOT,
        capture_output=True, text=True, timeout=WITHIN_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def rounded(text: str) -> object:
    """JSON with six digits of every number: another count of threads may sum in another order."""
    return json.loads(text, parse_float=lambda digits: f"{float(digits):.6g}")


def test_score_prints_json_on_stdout_and_progress_on_stderr(
    small_program: str, horses: Path, zebras: Path, small: metrics.Extractor, tmp_path: Path
) -> None:
    arguments = ["score", str(horses), str(zebras), "--metrics", "fid, kid", "--seed", "3"]
    done = run([sys.executable, small_program, json.dumps([arguments])], tmp_path / "cache")
    expected = metrics.score(horses, zebras, metrics=("fid", "kid"), extractor=small, seed=3)
    assert rounded(done.stdout) == rounded(json.dumps(expected))
    assert "32/32" in done.stderr
    assert "images/s" in done.stderr
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 2


def test_torchrun_gives_what_one_process_gives(
    small_program: str, folder: Path, small: metrics.Extractor, tmp_path: Path
) -> None:
    """With features bit for bit, without them to the rounding of their moments; one process speaks for all."""
    kept, merged = tmp_path / "kept.npz", tmp_path / "merged.npz"
    stats = ["stats", str(folder)]
    commands = [[*stats, str(kept), "--features"], [*stats, str(merged)]]
    done = run([*TORCHRUN, small_program, json.dumps(commands)], tmp_path / "cache")
    assert done.stdout.count('"n": 7') == 2, "once for each command, from the first process"
    assert "4/4" in done.stderr, "the first process has every second of seven images"
    alone = metrics.features(folder, extractor=small)
    found = metrics.FeatureSet.load(kept)
    assert np.array_equal(found.features, alone.features)
    assert np.array_equal(found.statistics.sigma, alone.statistics.sigma)
    moments = metrics.Statistics.load(merged)
    assert moments.n == 7
    np.testing.assert_allclose(moments.mu, alone.statistics.mu, rtol=1e-12)
    np.testing.assert_allclose(moments.sigma, alone.statistics.sigma, rtol=1e-10, atol=1e-12)


def test_torchrun_splits_the_real_network(
    published_file: Path, inception: metrics.InceptionExtractor, folder: Path, tmp_path: Path
) -> None:
    """The command as the guide gives it. Batches differ from those of one process, so features round differently."""
    command = ["-m", "metrics", "stats", folder, tmp_path / "out.npz", "--weights", published_file, "--device", "cpu"]
    run([*TORCHRUN, *command], tmp_path / "cache")
    found, alone = metrics.Statistics.load(tmp_path / "out.npz"), metrics.statistics(folder, extractor=inception)
    assert (found.n, found.extractor, found.protocol) == (7, alone.extractor, alone.protocol)
    np.testing.assert_allclose(found.mu, alone.mu, atol=1e-5)
    np.testing.assert_allclose(found.sigma, alone.sigma, atol=1e-5)
    assert metrics.frechet_distance(found, alone) < 1e-4


def test_progress_under_torchrun_ends_at_the_process_own_part(
    small_program: str, folder: Path, zebras: Path, tmp_path: Path
) -> None:
    """Of 7 and 16 images the first of two processes has 4 and 8."""
    arguments = ["score", str(folder), str(zebras), "--no-cache"]
    done = run([*TORCHRUN, small_program, json.dumps([arguments])], tmp_path / "cache")
    assert "12/12" in done.stderr
    assert json.loads(done.stdout)["a"]["n"] == 7


def ended(command: Sequence[str | Path], **named: Any) -> subprocess.CompletedProcess[str]:
    """The command to its end, whatever its status; its output goes where `named` says."""
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | named
    parts = [str(part) for part in command]
    return subprocess.run(parts, cwd=ROOT, text=True, timeout=WITHIN_S, check=False, **given)


def test_an_interrupted_score_says_one_sentence(small_program: str, folder: Path) -> None:
    arguments = json.dumps([["score", str(folder), str(folder), "--no-cache"]])
    done = ended([sys.executable, small_program, arguments, "interrupted"])
    assert done.returncode == 130
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("Interrupted.")
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_ends_nothing(small_program: str, folder: Path, tmp_path: Path) -> None:
    """`| head`, and `2>&1 | head`, whose progress bar has nobody to write to either: the file is written."""
    out = tmp_path / "out.npz"
    for streams in (["stdout"], ["stdout", "stderr"]):
        read, write = os.pipe()
        os.close(read)
        arguments = json.dumps([["stats", str(folder), str(out), "--no-cache"]])
        done = ended([sys.executable, small_program, arguments], **dict.fromkeys(streams, write))
        os.close(write)
        assert done.returncode == 0, done.stderr
        assert "Broken pipe" not in (done.stderr or "")
        assert metrics.Statistics.load(out).n == 7
        out.unlink()


def test_an_output_that_is_full_is_a_sentence(small_program: str, folder: Path) -> None:
    arguments = json.dumps([["score", str(folder), str(folder), "--no-cache"]])
    with open("/dev/full", "w") as full:
        done = ended([sys.executable, small_program, arguments], stdout=full)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: file: No space left on device."


@pytest.mark.parametrize("size", ["", "1"])
def test_one_process_is_alone(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", size)
    with metrics.joined() as here:
        assert here == metrics.world() == metrics.World(0, 1)


def test_what_a_cluster_left_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with (
        pytest.raises(InputError, match=r"WORLD_SIZE is 4 .* RANK and MASTER_ADDR and MASTER_PORT .* torchrun"),
        metrics.joined(),
    ):
        pass
    for name, value in {"RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():  # nobody is there
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, "_MEETING", datetime.timedelta(seconds=1))
    with pytest.raises(InputError, match=r"did not meet .* unset WORLD_SIZE"), metrics.joined():
        pass
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(InputError, match="did not meet"), metrics.joined():
        pass


def test_each_attempt_has_a_part_of_the_store_to_itself() -> None:
    """torchrun keeps one store for all attempts: what a killed process said there must not be taken for news."""
    store = dist.HashStore()
    store.set("word/1", "said by a process that was killed before it was answered")

    def attempt() -> list[dist.Store]:
        with ThreadPoolExecutor(3) as pool:
            return list(pool.map(lambda rank: distributed._of_this_attempt(store, rank, 3), range(3)))

    first, second = attempt(), attempt()
    first[0].set("address", "old")
    assert [one.check(["address"]) for one in first + second] == [True] * 3 + [False] * 3
    second[2].set("address", "new")
    assert [one.get("address") for one in first + second] == [b"old"] * 3 + [b"new"] * 3


def test_a_process_that_does_not_come_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "_MEETING", datetime.timedelta(0))
    with pytest.raises(RuntimeError, match="processes 1, 2 did not come"):
        distributed._of_this_attempt(dist.HashStore(), 0, 3)

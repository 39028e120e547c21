"""The command line as a person runs it, and the split over processes as torchrun runs it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import metrics
from metrics import command

TWO_PROCESSES = """
import sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
import conftest, metrics, numpy as np
from metrics import parallel
with parallel.process_group():
    for keep in (True, False):
        found = metrics.features(sys.argv[3], extractor=conftest.SmallExtractor(), keep=keep)
        out = f"{sys.argv[4]}/{keep}-{parallel.rank_and_world()[0]}.npz"
        found.save(out)
"""


@pytest.fixture
def small_command(small: metrics.Extractor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The command line over the small extractor, with a cache of its own."""
    monkeypatch.setattr(command, "extractor", lambda *_args, **_named: small)
    monkeypatch.setenv("GAN_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_score_prints_json_and_nothing_else(
    small_command: Path, horses: Path, zebras: Path, small: metrics.Extractor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["score", str(horses), str(zebras), "--metrics", "fid, kid", "--seed", "3"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == json.loads(
        json.dumps(metrics.score(horses, zebras, metrics=("fid", "kid"), extractor=small, seed=3))
    )
    assert "32/32" in printed.err
    assert "images/s" in printed.err
    assert len(list((small_command / "cache" / "features").iterdir())) == 2


def test_stats_writes_what_score_reads(
    small_command: Path, horses: Path, zebras: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = small_command / "zebras.npz"
    assert command.main(["stats", str(zebras), str(out), "--features", "--protocol", "clean-fid", "--no-cache"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "out": str(out),
        "n": 16,
        "protocol": "clean-fid",
        "extractor": "small",
    }
    assert metrics.FeatureSet.load(out).features.shape == (16, 24)
    assert command.main(["score", str(horses), str(out), "--protocol", "clean-fid"]) == 0
    assert command.main(["score", str(horses), str(out)]) == 2
    assert "differ in their protocol" in capsys.readouterr().err
    assert not (small_command / "cache" / "features" / "zebras.npz").exists()


def test_a_checkpoint_is_a_set_of_samples(
    small_command: Path, zebras: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import dataclasses

    import models

    config = models.DCGANConfig(image_size=16, channels=3, latent_size=5, width=8)
    path = small_command / "g.safetensors"
    models.save(
        path, {"generator": models.build_generator(config)}, models.Metadata("dcgan", dataclasses.asdict(config))
    )
    assert command.main(["score", str(path), str(zebras), "--samples", "9", "--seed", "4"]) == 0
    assert json.loads(capsys.readouterr().out)["a"]["name"] == "g.safetensors, 9 samples from seed 4"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score", "missing", "also-missing"], "There is no file or folder missing"),
        (["score", "{horses}", "{horses}", "--metrics", "ssim"], "Unknown metric 'ssim'"),
        (["stats", "{horses}", "{tmp}/no/such/folder.npz"], "No such file or directory"),
    ],
)
def test_errors_are_a_sentence_and_status_2(
    arguments: list[str], message: str, small_command: Path, horses: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [argument.format(horses=horses, tmp=small_command) for argument in arguments]
    assert command.main(filled) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert "Traceback" not in printed.err


def test_two_processes_give_what_one_gives(horses: Path, small: metrics.Extractor, tmp_path: Path) -> None:
    """15 images over two processes: with features bit for bit, without them to the rounding of their sums."""
    (tmp_path / "set").mkdir()
    for file in sorted(horses.iterdir())[:15]:  # an odd number: the parts differ
        (tmp_path / "set" / file.name).write_bytes(file.read_bytes())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = Path(metrics.__file__).parents[1]
    arguments = [str(root), str(Path(__file__).parent), str(tmp_path / "set"), str(tmp_path)]
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_PROCESSES, *arguments], env=shared | {"RANK": str(rank)}, stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    alone = metrics.features(tmp_path / "set", extractor=small)
    for rank in range(2):
        kept = metrics.FeatureSet.load(tmp_path / f"True-{rank}.npz")
        assert np.array_equal(kept.features, alone.features)
        assert np.array_equal(kept.statistics.mu, alone.statistics.mu)
        assert np.array_equal(kept.statistics.sigma, alone.statistics.sigma)
        merged = metrics.Statistics.load(tmp_path / f"False-{rank}.npz")
        assert merged.n == 15
        np.testing.assert_allclose(merged.mu, alone.statistics.mu, rtol=1e-12)
        np.testing.assert_allclose(merged.sigma, alone.statistics.sigma, rtol=1e-10, atol=1e-12)

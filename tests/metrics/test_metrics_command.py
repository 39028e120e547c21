"""The command line: what it writes, what it says, and the errors it gives."""

from __future__ import annotations

import io
import itertools
import json
import sys
from pathlib import Path

import pytest

import metrics
from metrics import command


@pytest.fixture
def small_command(small: metrics.Extractor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The command line over the small extractor, with a cache of its own."""
    monkeypatch.setattr(command, "extractor", lambda *_args, **_named: small)
    monkeypatch.setenv("GAN_CACHE", str(tmp_path / "cache"))
    return tmp_path


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


@pytest.mark.parametrize(("images", "total", "shown"), [(3, 6, "3/6"), (3, 0, "3/?")])
def test_progress_is_in_images_a_second_however_slow(
    images: int, total: int, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below one a second too, where tqdm turns to seconds an image if it is let."""
    written, clock = io.StringIO(), itertools.count(step=60.0)
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setattr("tqdm.std.time", lambda: next(clock))
    with command._progress_bar() as tell:
        tell(images, total)
    assert shown in written.getvalue()
    assert "images/s" in written.getvalue()
    assert "s/ images" not in written.getvalue()

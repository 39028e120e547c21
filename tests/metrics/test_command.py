"""The command line: what it writes, what it says, and the errors it gives."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import metrics
import models
from metrics import command
from metrics.extraction import one_pass
from metrics.network import weights
from metrics.sets.featuresets import of_features
from models import WeightsUnavailable


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
        "features": True,
        "protocol": "clean-fid",
        "extractor": "small",
        "precision": "float32",
        "versions": {name: version(name) for name in ("numpy", "pillow", "torch")},
    }
    assert metrics.FeatureSet.load(out).features.shape == (16, 24)
    assert command.main(["score", str(horses), str(out), "--protocol", "clean-fid"]) == 0
    assert command.main(["score", str(horses), str(out)]) == 2
    assert "differ in their protocol" in capsys.readouterr().err
    assert not (small_command / "cache" / "features" / "zebras.npz").exists()


def test_a_checkpoint_is_a_set_of_samples(
    small_command: Path, zebras: Path, capsys: pytest.CaptureFixture[str]
) -> None:

    config = models.DCGANConfig(image_size=16, channels=3, latent_size=5, width=8)
    path = small_command / "g.safetensors"
    models.save(path, config.parts(), models.metadata_of(config))
    assert command.main(["score", str(path), str(zebras), "--samples", "9", "--seed", "4"]) == 0
    assert json.loads(capsys.readouterr().out)["a"]["name"] == "g.safetensors, 9 samples from seed 4"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score", "missing", "also-missing"], "There is no file or folder missing"),
        (["score", "{horses}", "{horses}", "--metrics", "ssim"], "Unknown metric 'ssim'"),
        (["score", "{horses}", "{horses}", "--seed", "-1"], "A seed is a whole number from 0"),
        (["stats", "{horses}", "{tmp}/no/such/folder.npz"], "in a folder that exists"),
        (["stats", "{horses}", "{tmp}/statistics"], "a name that ends in .npz"),
        (["stats", "{tmp}/full", "{tmp}/full/x.npz"], "There is no image in"),
        (["stats", "{tmp}/broken", "/proc/x.npz"], "Cannot write into /proc"),
        (["stats", "{tmp}/own.npz", "{tmp}/full/../own.npz"], "own.npz is the set itself"),
    ],
)
def test_errors_are_a_sentence_and_status_2(
    arguments: list[str], message: str, small_command: Path, horses: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (small_command / "full").mkdir()
    (small_command / "broken").mkdir()
    (small_command / "broken/x.png").write_bytes(b"what cannot be written is said before this is read")
    of_features("own", np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)).save(small_command / "own.npz")
    filled = [argument.format(horses=horses, tmp=small_command) for argument in arguments]
    assert command.main(filled) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert "Traceback" not in printed.err


def test_an_output_that_cannot_be_written_is_a_sentence(
    small_command: Path, horses: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (small_command / "taken.npz").mkdir()
    assert command.main(["stats", str(horses), str(small_command / "taken.npz")]) == 2
    assert "taken.npz: it is a folder" in capsys.readouterr().err


def test_features_that_cannot_be_kept_cost_a_line_and_no_score(
    small_command: Path,
    horses: Path,
    zebras: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (small_command / "cache").mkdir()
    (small_command / "cache/features").write_text("no folder")
    assert command.main(["score", str(horses), str(zebras)]) == 0
    assert json.loads(capsys.readouterr().out)["fid"]["value"] > 0
    assert "features were not kept" in caplog.text


@pytest.mark.parametrize("home", ["not a folder", None])
def test_a_user_without_a_home_can_score(
    home: str | None, small_command: Path, horses: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GAN_CACHE")
    monkeypatch.delenv("GAN_INCEPTION_WEIGHTS", raising=False)
    if home is None:
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])  # as in a container with --user
    else:
        (small_command / home).write_text("")
        monkeypatch.setenv("HOME", str(small_command / home))
    of_features("own", np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)).save(small_command / "own.npz")
    assert command.main(["score", str(small_command / "own.npz"), str(small_command / "own.npz")]) == 0
    assert command.main(["score", str(horses), str(horses)]) == 0
    with pytest.raises(WeightsUnavailable, match="Set GAN_CACHE to a folder that can be written"):
        weights.load()


@pytest.mark.parametrize("packing", ["zip", "tar"])
def test_an_archive_scores_as_its_folder_with_any_workers(
    packing: str,
    small_command: Path,
    horses: Path,
    zebras: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, stream = [], one_pass.stream_features
    monkeypatch.setattr(
        one_pass, "stream_features", lambda *args, **named: asked.append(named["workers"]) or stream(*args, **named)
    )
    packed = shutil.make_archive(str(small_command / "set"), packing, zebras)
    results = []
    for source, workers in ((str(zebras), 1), (packed, 5)):
        assert command.main(["score", str(horses), source, "--no-cache", "--workers", str(workers)]) == 0
        results.append(json.loads(capsys.readouterr().out)["fid"])
    assert results[0] == results[1]
    assert asked == [1, 1, 5, 5]


def test_two_statistics_files_need_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing was ever fetched and nothing can be."""

    def none_to_be_had(*_args: object, **_named: object) -> None:
        raise WeightsUnavailable("none to be had")

    monkeypatch.setattr(command, "extractor", none_to_be_had)
    monkeypatch.setenv("GAN_CACHE", str(tmp_path / "cache"))
    features = np.random.default_rng(0).normal(size=(2, 30, 4)).astype(np.float32)
    for name, some in zip("ab", features, strict=True):
        of_features(name, some).save(tmp_path / f"{name}.npz")
    files = [str(tmp_path / "a.npz"), str(tmp_path / "b.npz")]
    assert command.main(["score", *files, "--metrics", "fid,kid,prdc"]) == 0
    assert command.main(["stats", files[0], str(tmp_path / "c.npz")]) == 0
    assert command.main(["score", *files, "--metrics", "is"]) == 2, "the classifier is the network's"


@pytest.mark.parametrize("flag", ["--samples=1_0", "--seed=٣", "--bootstrap= 7", "--boot=7"])
def test_numbers_and_flags_are_taken_as_they_are_written(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(["score", "nowhere", "nowhere", flag])
    assert stopped.value.code == 2
    assert flag.partition("=")[0] in capsys.readouterr().err


def test_an_empty_name_is_not_the_folder_that_the_command_is_in(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["score", "", "nowhere"])
    assert "argument a: an empty text names nothing" in capsys.readouterr().err


def test_what_is_wrong_is_all_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["score", str(tmp_path / "nope"), str(tmp_path / "no.npz"), "--no-cache"]) == 2
    assert capsys.readouterr().err.startswith("error: There is no file or folder")


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

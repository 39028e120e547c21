"""The command line: what cannot be is said in a sentence, before Ray is started."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bulk.command import main
from tests.bulk.conftest import ROOT, surroundings

TO_ZEBRAS = ["--model", "horse2zebra", "--direction", "zebra"]


@pytest.fixture
def photos(horses: list[Path], tmp_path: Path) -> str:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(horses[0].read_bytes())
    return str(tmp_path / "photos")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["translate", "{photos}", "{out}", "--model", "nope", "--direction", "zebra"],
            "no shipped model of that name",
        ),
        (
            ["translate", "{photos}", "{out}", "--model", "horse2zebra", "--direction", "cow"],
            "zebra or horse, not 'cow'",
        ),
        (
            ["translate", "{photos}", "{out}", "--model", "cifar10-dcgan", "--direction", "a"],
            "draws images from latents",
        ),
        (["translate", "{photos}/none", "{out}", *TO_ZEBRAS], "There is no file or folder"),
        (["translate", "{empty}", "{out}", *TO_ZEBRAS], "There is no image in"),
        (["translate", "{photos}", "{photos}/zebras", *TO_ZEBRAS], "lies inside"),
        (["translate", "http://photos", "{out}", *TO_ZEBRAS], "http://photos is no place for images"),
        (["translate", "{photos}", "{photos}/a.jpg/b", *TO_ZEBRAS], "lies inside"),
        (["sample", "0", "{out}", "--model", "cifar10-dcgan"], "1 sample or more"),
        (["sample", "1" * 18, "{out}", "--model", "cifar10-dcgan"], "at most 1,000,000,000"),
        (["sample", "1", "{photos}/a.jpg", "--model", "cifar10-dcgan"], "is no folder to write to"),
        (["sample", "1", "{out}", "--model", "cifar10-dcgan", "--actors", "0"], "--actors is 1 or more"),
        (["sample", "1", "{out}", "--model", "cifar10-dcgan", "--address", "127.0.0.1:1"], "No cluster of Ray answers"),
        (["features", "{photos}", "{out}"], "ends in .npz"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    arguments: list[str], said: str, photos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"photos": photos, "out": str(tmp_path / "out"), "empty": str(tmp_path / "empty")}
    assert main([argument.format(**places) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error


def test_results_of_another_run_are_not_taken_for_this_ones(
    photos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    Path(out).mkdir()
    (Path(out) / "bulk.json").write_text('{"command": "sample", "model": "other", "seed": 3, "count": 1}')
    assert main(["sample", "1", out, "--model", "cifar10-dcgan"]) == 2
    error = capsys.readouterr().err
    assert "holds results of another run (model 'other', now '" in error
    assert "seed 3, now 0" in error
    assert "Choose another place." in error
    assert main(["translate", photos, out, *TO_ZEBRAS]) == 2
    assert "command 'sample', now 'translate'" in capsys.readouterr().err


@pytest.mark.parametrize("damaged", ['{"command": "sam', "[]", "null", "\xff"])
def test_results_of_nobody_knows_which_run_are_left_alone(
    damaged: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bulk.json").write_bytes(damaged.encode("latin-1"))
    assert main(["sample", "1", str(tmp_path), "--model", "cifar10-dcgan"]) == 2
    assert "its bulk.json is damaged" in capsys.readouterr().err


def test_a_finished_run_needs_no_actor(tmp_path: Path) -> None:
    (tmp_path / "000000000000.tar").write_bytes(b"drawn before")
    assert main(["sample", "3", str(tmp_path), "--model", "cifar10-dcgan", "--address", "127.0.0.1:1"]) == 0


@pytest.mark.parametrize(
    "arguments", [["--help"], ["translate", "--help"], ["sample", "--help"], ["features", "--help"]]
)
def test_help_says_what_there_is(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    assert "usage: python -m bulk" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["sample", "1", "x", "--model", "m", "--sed", "1"], ["sample", "1_000", "x", "--model", "m"], ["fly"], []],
)
def test_what_is_not_known_ends_with_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m bulk" in capsys.readouterr().err


def test_nobody_is_told_that_ray_is_used() -> None:
    """Ray reads its environment when it is imported: whatever a user has set, it stays off."""
    code = (
        "import bulk.command; from ray._common.usage import usage_lib; "
        "print(usage_lib.usage_stats_enabled(), usage_lib._usage_stats_enabledness().name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=surroundings({"RAY_USAGE_STATS_ENABLED": "1"}), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["False", "DISABLED_EXPLICITLY"]


def test_every_flag_that_the_guide_names_exists(capsys: pytest.CaptureFixture[str]) -> None:
    guide = (ROOT / "docs" / "bulk.md").read_text().replace("python -m benchmarks", "")
    commands = [line for line in guide.splitlines() if line.startswith(("python -m bulk", "    --address"))]
    assert {line.split()[3] for line in commands if line.startswith("python")} == {"translate", "sample", "features"}
    known = set()
    for name in ("translate", "sample", "features"):
        with pytest.raises(SystemExit):
            main([name, "--help"])
        known |= set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    rays = {"--head", "--num-cpus"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", guide)) - rays <= known

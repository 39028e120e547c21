"""The command line: flags, files, dry runs, messages, exit codes."""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from training.cli import main
from training.games.table import games
from training.options.flags import add_flags

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--data", "fake", "--image-size", "16", "--width", "4", "--discriminator-width", "4", "--batch", "4"]
SHORT = ["--kimg", "0.008", "--tick-kimg", "0.004", "--no-tensorboard", "--animation", "none", "--device", "cpu"]


def test_train_then_resume_with_one_flag(tmp_path, capsys):
    out = tmp_path / "first"
    assert main(["dcgan", *TINY, *SHORT, "--out", str(out)]) == 0
    assert "first.safetensors: 8 images" in capsys.readouterr().out
    assert main(["--resume", str(out), "--kimg", "0.012"]) == 0
    assert "12 images" in capsys.readouterr().out
    assert main(["dcgan", "--resume", str(out), "--batch", "8"]) == 2
    assert "pace.batch: 4 in the snapshot, 8 now" in capsys.readouterr().err
    assert main(["dcgan", *TINY, *SHORT, "--out", str(out)]) == 2
    assert "--resume" in capsys.readouterr().err


def test_one_command_for_the_beginning_and_for_every_start_after_it(tmp_path, capsys):
    command = ["dcgan", *TINY, *SHORT, "--out", str(tmp_path / "run"), "--continue"]
    assert main([*command, "--dry-run"]) == 0
    assert main(command) == 0
    capsys.readouterr()
    assert main([*command, "--dry-run"]) == 0
    assert "8 images done" in capsys.readouterr().err
    assert main(command) == 0
    assert "come to its end already, at 8 images" in capsys.readouterr().err
    assert main([*command, "--batch", "8"]) == 2
    assert "pace.batch: 4 in the snapshot, 8 now" in capsys.readouterr().err


def test_a_configuration_file_and_flags_over_it(tmp_path):
    assert main(["dcgan", *TINY, *SHORT, "--out", str(tmp_path / "a")]) == 0
    again = ["dcgan", "--config", str(tmp_path / "a" / "config.json"), "--out", str(tmp_path / "b"), "--seed", "3"]
    assert main(again) == 0
    first, second = (json.loads((tmp_path / name / "config.json").read_text()) for name in "ab")
    assert second["pace"] == first["pace"] | {"seed": 3}
    assert second["network"] == first["network"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"pace": {"bach": 3}}', "unknown option of `pace` 'bach'"),
        ('{"pace": 3}', "must be an object of options"),
        ("[1]", "must hold an object"),
        ("{", "is not JSON"),
        (None, "cannot be read"),
    ],
)
def test_bad_configuration_files(tmp_path, capsys, content, words):
    path = tmp_path / "run.json"
    if content is not None:
        path.write_text(content)
    assert main(["dcgan", "--config", str(path), "--data", "fake", "--out", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["dcgan", "--bach", "3"],
        ["dcgan", "--batc", "3"],
        ["dcgan", "--batch", "x"],
        ["dcgan", "--batch", "1_0"],
        ["dcgan", "--g-lr", "1e400"],
        ["classifier", "--epochs", "nan"],
        ["classifier", "--image-size", "0"],
        ["classifier", "--seed", "-1"],
        ["classifier", "--threads", "99999999"],
        ["stylegan"],
        [],
    ],
)
def test_unknown_flags_end_with_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m training" in capsys.readouterr().err


def test_dry_run_prints_everything_and_writes_nothing(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["dcgan", *TINY, *SHORT, "--out", str(out), "--dry-run"]) == 0
    said = capsys.readouterr()
    config, text = json.loads(said.out), said.err
    assert config["kind"] == "dcgan"
    assert config["pace"]["batch"] == 4
    assert "parameters of generator: " in text
    assert "memory: about" in text
    assert "steps: 2 of 4 images" in text
    assert not out.exists()
    small = ["--image-size", "32", "--width", "4", "--blocks", "1", "--discriminator-width", "4"]
    assert main(["cyclegan", "--data", "fake", *small, "--out", "x", "--dry-run"]) == 0
    assert "parameters of a_to_b" in capsys.readouterr().err


def test_one_dialect_is_printed_written_and_read(tmp_path, capsys):
    """What a dry run prints is a configuration, and so is what a run writes; both name their game themselves."""
    out, printed = tmp_path / "run", tmp_path / "printed.json"
    assert main(["dcgan", *TINY, *SHORT, "--out", str(out), "--dry-run"]) == 0
    printed.write_text(capsys.readouterr().out)
    assert main(["--config", str(printed)]) == 0
    assert json.loads((out / "config.json").read_text()) == json.loads(printed.read_text())
    capsys.readouterr()
    assert main(["--resume", str(out), "--kimg", "0.012"]) == 0
    assert "12 images" in capsys.readouterr().out
    assert main([f"--config={out}/config.json", "--out", str(tmp_path / "other"), "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["pace"]["kimg"] == 0.012


def test_a_game_has_to_be_named_once_and_alike(tmp_path, capsys):
    path = tmp_path / "part.json"
    path.write_text('{"pace": {"batch": 8}}')
    assert main(["--config", str(path)]) == 2
    assert "names no game: give it a `kind`, one of" in capsys.readouterr().err
    path.write_text('{"kind": "cyclegan"}')
    assert main(["dcgan", "--config", str(path), *TINY, "--out", "x"]) == 2
    assert "holds a run of cyclegan, not of dcgan" in capsys.readouterr().err


def test_dry_run_finds_what_would_stop_the_run(tmp_path, capsys):
    assert main(["dcgan", "--data", str(tmp_path / "nowhere"), "--out", "x", "--dry-run"]) == 2
    assert "no such folder" in capsys.readouterr().err
    (tmp_path / "broken.png").write_bytes(b"no")
    assert main(["dcgan", "--data", str(tmp_path), "--out", "x", "--dry-run"]) == 2
    assert "broken.png" in capsys.readouterr().err


def test_dry_run_says_what_a_run_in_that_folder_would(tmp_path, capsys):
    out = tmp_path / "run"
    flags = [*TINY, *SHORT, "--out", str(out)]
    assert main(["dcgan", *flags]) == 0
    before = sorted(out.rglob("*"))
    capsys.readouterr()
    assert main(["dcgan", *flags, "--dry-run"]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main(["dcgan", "--resume", str(out), "--batch", "8", "--dry-run"]) == 2
    assert "pace.batch: 4 in the snapshot, 8 now" in capsys.readouterr().err
    assert main(["dcgan", "--resume", str(out), "--kimg", "0.012", "--dry-run"]) == 0
    assert "steps: 3 of 4 images, 8 images done" in capsys.readouterr().err
    assert sorted(out.rglob("*")) == before
    assert main(["dcgan", *TINY, "--out", str(out / "config.json" / "run"), "--dry-run"]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--config", "b.json"], "leave --config"),
        (["--out", "b"], "leave --out"),
        (["--continue"], "leave --continue out"),
    ],
)
def test_resume_brings_its_configuration_and_folder(flags, words, capsys):
    assert main(["dcgan", "--resume", "a", *flags]) == 2
    assert words in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_a_sentence(tmp_path, capsys):
    assert main(["dcgan", *TINY, *SHORT, "--out", str(tmp_path / "a")]) == 0
    assert main(["export", str(tmp_path / "a" / "a.safetensors"), "/proc/a.onnx"]) == 2
    assert "/proc/" in capsys.readouterr().err


def test_help_of_the_program_as_it_is_run():
    done = subprocess.run(
        [sys.executable, "-m", "training", "dcgan", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for flag in ("--resume", "--dry-run", "--label-smoothing", "--fid-kimg", "--no-flips"):
        assert flag in done.stdout


def test_every_flag_that_the_guide_names_exists():
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", (ROOT / "docs" / "training.md").read_text()))
    known = set()
    for game in games().values():
        parser = argparse.ArgumentParser()
        add_flags(parser, game.Run)
        known |= set(re.findall(r"--[a-z][a-z0-9-]+", parser.format_help()))
    ours = {"--resume", "--continue", "--config", "--dry-run"}
    ours |= {
        "--card-only",
        "--outlines",
        "--package",
        "--count",
        "--held-out",
        "--truncation",
    }  # of tools and data sets
    assert named - {"--nproc-per-node", "--max-restarts", "--help"} <= known | ours


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"kind": []}', "names no game"),
        ("[" * 100_000, "is not JSON"),
        ('{"kind": "dcgan", "data": 5}', "`data` must be an object of options"),
        ('{"kind": "dcgan", "output": {"name": "a\\u0000b"}}', "--name holds what no name can"),
        ('{"kind": "dcgan", "output": {"name": "a\\ud800"}}', "--name holds what no name can"),
        ('{"kind": "dcgan", "pace": {"kimg": 1e306}}', "--kimg must be 1e+09 or less"),
        ('{"kind": "dcgan", "machine": {"threads": 100000000000000}}', "--threads must be 4096 or less"),
    ],
    ids=["kind", "depth", "group", "nul", "surrogate", "kimg", "threads"],
)
def test_no_file_of_a_configuration_is_a_traceback(tmp_path, capsys, text, said):
    file = tmp_path / "run.json"
    file.write_text(text)
    assert main(["--config", str(file), "--data", "fake", "--out", str(tmp_path / "run")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("flags", [["--name", "x" * 201], ["--device", "meta"]], ids=["name", "device"])
def test_what_would_fail_at_the_first_snapshot_is_said_before(tmp_path, capsys, flags):
    given = ["dcgan", *TINY, "--out", str(tmp_path / "run"), *SHORT, *flags]
    for again in (given, [*given, "--dry-run"]):
        assert main(again) == 2
        assert f"error: {flags[0]} m" in capsys.readouterr().err


def test_a_run_needs_no_open_standard_output(tmp_path):
    command = [sys.executable, "-m", "training", "dcgan", *TINY, *SHORT, "--out", str(tmp_path / "run")]
    subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command], cwd=ROOT, check=True)
    assert (tmp_path / "run" / "run.safetensors").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_configuration_that_cannot_be_written_is_an_error(tmp_path):
    command = [sys.executable, "-m", "training", "dcgan", *TINY, "--out", str(tmp_path / "run"), "--dry-run"]
    with open("/dev/full", "w") as full:
        told = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert told.returncode == 2
    assert "No space left" in told.stderr

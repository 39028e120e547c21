"""What a command answers, and readers who do not listen to the end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = ROOT / "models" / "pretrained" / "mnist-dcgan.safetensors"
INFO = [sys.executable, "-m", "models", "info", str(CHECKPOINT)]


def test_a_reader_who_left_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    told = subprocess.run(INFO, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (told.returncode, told.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one():
    with open("/dev/full", "w") as full:
        told = subprocess.run(INFO, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert told.returncode == 2
    assert "No space left" in told.stderr


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "2>&- >&-"])
@pytest.mark.parametrize("room", ["models", "metrics"])
def test_closed_descriptors_change_no_answer(tmp_path, room, closed):
    wrong = ["info", "nowhere"] if room == "models" else ["score", "nowhere", "nowhere"]
    command = [sys.executable, "-m", room, *wrong]
    told = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", *command], cwd=ROOT, check=False)
    assert told.returncode == 2, "the exit status of a wrong path"


def test_a_name_that_is_not_utf8_is_strict_json(tmp_path):
    named = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.safetensors")
    os.symlink(CHECKPOINT, named)
    told = subprocess.run([*INFO[:-1], named], cwd=ROOT, capture_output=True, check=True)
    assert json.loads(told.stdout)["file"] == "caf\N{REPLACEMENT CHARACTER}.safetensors"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["info", "nope"], "error: nope: No such file or directory.\n"),
        (["import", "nope", "out.safetensors"], "error: nope: No such file or directory.\n"),
        (["info", "."], "error: . is not a regular file.\n"),
        (["import", "/", "out.safetensors"], "error: / is not a regular file.\n"),
    ],
)
def test_a_wrong_path_is_named_and_no_number_of_the_system(tmp_path, monkeypatch, capsys, command, said):
    monkeypatch.chdir(tmp_path)
    assert main(command) == 2
    assert capsys.readouterr().err == said

"""Faults: kills, full and read-only disks, two runs in one folder."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import models
from metrics import World
from models import ConflictError, GanError, InputError
from training import train
from training.run import state
from training.run.folder import opened

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def small_files():
    """Within, no file may grow past so many bytes: writing fails in the middle, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_kill_leaves_the_last_snapshot_whole(tmp_path):
    """kill -9 while snapshots are written all the time; then the run goes on from the one that is there."""
    out = tmp_path / "run"
    flags = ["--data", "fake", "--image-size", "16", "--width", "4", "--discriminator-width", "4", "--batch", "4"]
    flags += ["--tick-kimg", "0.004", "--sample-kimg", "100", "--snapshot-kimg", "0.004", "--no-tensorboard"]
    command = [sys.executable, "-m", "training", "dcgan", *flags, "--threads", "1", "--kimg", "1000", "--out", str(out)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(4):  # a line is printed just before each snapshot
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    images = state.read(out / "state.pt")["progress"]["images"]
    assert images >= 12
    # the checkpoint is written first: it may be of the snapshot that was about to be
    assert models.load(out / "run.safetensors").metadata.training["images"] in (images, images + 4)
    command = [sys.executable, "-m", "training", "dcgan", "--resume", str(out), "--kimg", str(images / 1000 + 0.004)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"{images + 4} images" in done.stdout


def test_a_crash_in_the_middle_of_a_snapshot(sampler, monkeypatch):
    run = sampler(pace={"kimg": 0.016})
    train(run)
    path = Path(run.output.out) / "state.pt"
    before = path.read_bytes()

    def half(content, file):
        file.write(before[: len(before) // 2])
        raise MemoryError

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(MemoryError):
        train(sampler(), resume=True)
    assert path.read_bytes() == before
    assert not list(path.parent.glob(".*.tmp"))


@pytest.mark.parametrize("size", [20_000, 60_000])
def test_a_full_disk_ends_the_run_with_the_last_good_snapshot(sampler, small_files, size):
    """At 20 kB the sheet of samples or the snapshot fails, at 60 kB the snapshot."""
    run = sampler(pace={"kimg": 0.016})
    train(run)
    path = Path(run.output.out) / "state.pt"
    before = path.read_bytes()
    assert len(before) > 60_000
    small_files(size)
    with pytest.raises(GanError, match=r"cannot write to .*File too large.*last good snapshot is .*state\.pt"):
        train(sampler(), resume=True)
    assert path.read_bytes() == before
    assert not list(path.parent.rglob("*.tmp"))


def test_a_full_disk_while_tensorboard_is_written(sampler, small_files):
    """Its events are the first to grow past the limit."""
    small_files(20_000)
    with pytest.raises(GanError, match=r"cannot write to .*File too large"):
        train(
            sampler(
                watch={"tensorboard": True},
                pace={"kimg": 1.0, "tick_kimg": 0.004, "sample_kimg": 100.0, "snapshot_kimg": 100.0},
            )
        )


def test_a_full_disk_before_the_first_snapshot(sampler, small_files):
    small_files(20_000)
    with pytest.raises(GanError, match="no snapshot yet"):
        train(sampler())


def test_a_checkpoint_that_does_not_fit_on_the_disk(sampler, monkeypatch, small_files):
    """safetensors has errors of its own; the run says the same."""
    monkeypatch.setattr(state, "save", lambda *a: None)
    small_files(4_000)
    with pytest.raises(GanError, match=r"cannot write to .*serializing.*File too large"):
        train(sampler(pace={"sample_kimg": 100.0}))


def test_an_output_folder_that_cannot_be_made(sampler, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "run", Path("/proc/run")):
        with pytest.raises(InputError, match=r"--out .* cannot be written"):
            train(sampler(output={"out": str(out)}))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_a_read_only_output_folder(tmp_path):
    """As an ordinary user, in a folder that belongs to root."""
    program = (
        "import os, sys; sys.path.insert(0, '.'); from training.run.folder import opened\n"
        "from metrics import World; from models import InputError\n"
        f"os.setuid(65534)\n"
        f"try:\n    opened({str(tmp_path / 'run')!r}, '', resume=False, world=World()).__enter__()\n"
        "except InputError as error:\n    print(error)\n"
    )
    tmp_path.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "cannot be written: Permission denied" in done.stdout


def test_two_runs_in_one_folder(sampler):
    run = sampler()
    with (
        opened(run.output.out, "", resume=False, world=World()),
        pytest.raises(ConflictError, match=f"Another run \\(process {os.getpid()}\\) is writing"),
    ):
        train(run)
    assert train(run).finished, "the lock falls with its holder"


def test_a_new_run_does_not_overwrite_an_older_one(sampler):
    run = sampler(pace={"kimg": 0.004})
    train(run)
    with pytest.raises(ConflictError, match="holds a run already: go on with it by --resume"):
        train(run)

"""Faults: kills, full and read-only disks, two runs in one folder."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import models
from metrics import World
from models import ConflictError, GanError, InputError
from training import train
from training.games.dcgan import DCGAN
from training.games.sampler import Sampler
from training.run import log, state
from training.run.folder import opened
from training.run.signals import stop_signals

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
    with pytest.raises(GanError, match=r"needs more memory.*last good snapshot is .*state\.pt"):
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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # TensorBoard's writer is one
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
    for thread in threading.enumerate():  # its last words are this test's, and no other's
        if type(thread).__name__ == "_AsyncWriterThread":
            thread.join()


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


# --- work that is not lost ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_whose_output_was_closed_goes_on_to_its_end(tmp_path, number):
    """`| head`, or a terminal that is gone; and then it is asked to stop, and leaves a snapshot."""
    out = tmp_path / "run"
    flags = ["--data", "fake", "--image-size", "16", "--width", "4", "--discriminator-width", "4", "--batch", "4"]
    flags += ["--tick-kimg", "0.004", "--sample-kimg", "100", "--snapshot-kimg", "100", "--no-tensorboard"]
    command = [sys.executable, "-m", "training", "dcgan", *flags, "--threads", "1", "--kimg", "1000", "--out", str(out)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline()
        process.stdout.close()
        lines = len((out / "log.jsonl").read_text().splitlines())
        while len((out / "log.jsonl").read_text().splitlines()) < lines + 5:
            assert process.poll() is None
        process.send_signal(number)
    assert process.returncode == 130
    assert state.read(out / "state.pt")["progress"]["images"] >= 4 * (lines + 5)


def test_a_signal_that_is_ignored_stays_so(sampler):
    """`nohup` ignores SIGHUP for a run that is to outlive its terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.asked
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory"),
    ],
    ids=["python", "gpu", "linux", "windows"],
)
def test_a_step_that_does_not_fit_into_memory_is_a_sentence(sampler, monkeypatch, error):
    """And the folder takes the next try, which asks for less."""
    original = DCGAN.step

    def step(self, moment):
        raise error

    monkeypatch.setattr(DCGAN, "step", step)
    with pytest.raises(GanError, match=r"needs more memory than there is: lower --batch.*There is no snapshot yet"):
        train(sampler())
    monkeypatch.setattr(DCGAN, "step", original)
    assert train(sampler()).finished


def test_other_errors_of_torch_are_not_taken_for_it(sampler, monkeypatch):
    monkeypatch.setattr(DCGAN, "step", lambda self, moment: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        train(sampler())


def test_memory_that_runs_out_between_two_steps_leaves_a_snapshot(sampler, monkeypatch):
    """A score, a picture: what was trained is whole, and is kept."""

    def picture(self):
        raise MemoryError

    monkeypatch.setattr(Sampler, "picture", picture)
    run = sampler(pace={"snapshot_kimg": 1.0})
    with pytest.raises(GanError, match=r"needs more memory.*A snapshot was written to .*state\.pt"):
        train(run)
    assert state.read(Path(run.output.out) / "state.pt")["progress"]["images"] == 16
    monkeypatch.undo()
    assert train(run, resume=True).finished


def test_out_may_not_lie_among_the_images(sampler, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for inside in (photos, photos / "run", photos / "deep" / "run"):
        with pytest.raises(InputError, match=r"--out .* lies inside --data .*: the run's own pictures"):
            train(sampler(data={"data": str(photos)}, output={"out": str(inside)}))
        assert list(photos.iterdir()) == []
    samples = tmp_path / "run" / "samples"
    samples.mkdir(parents=True)
    with pytest.raises(InputError, match="lies inside --data"):
        train(sampler(data={"data": str(samples)}))


def test_a_restart_by_torchrun_is_told_how_to_go_on(sampler, monkeypatch):
    """`--max-restarts` starts the same command again, which says --out: it would be refused for ever."""
    run = sampler(pace={"kimg": 0.004})
    train(run)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    with pytest.raises(ConflictError, match=r"torchrun has started this run again.*say --continue beside --out"):
        train(run)


# --- what the log may hold ---


def strict(text):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("count", [1, 3])
def test_images_without_a_distance_have_no_variety(sampler, tmp_path, count):
    """One image, or several that are equal: there is nothing to be as far apart as."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(count):
        (photos / f"{number}.png").write_bytes(models.encode(np.full((16, 16, 3), 7, np.uint8)))
    run = sampler(data={"data": str(photos)})
    train(run)
    lines = [strict(line) for line in (Path(run.output.out) / "log.jsonl").read_text().splitlines()]
    assert len(lines) == 4
    assert not any("variety" in line for line in lines)


def test_one_photo_of_a_domain_has_no_variety(translator, tmp_path):
    for domain in ("trainA", "trainB"):
        (tmp_path / "photos" / domain).mkdir(parents=True)
        (tmp_path / "photos" / domain / "0.png").write_bytes(models.encode(np.full((32, 32, 3), 7, np.uint8)))
    run = translator(data={"data": str(tmp_path / "photos")}, pace={"batch": 1})
    train(run)
    lines = [strict(line) for line in (Path(run.output.out) / "log.jsonl").read_text().splitlines()]
    assert lines
    assert not any("variety" in line for line in lines)


def test_a_score_that_is_no_number_is_left_out():
    result = {"value": math.nan}
    assert log.entry(state.Progress(), {}, None, {"kid": result, "fid": {"value": 2.0}}, []) == {
        "step": 0,
        "images": 0,
        "seconds": 0.0,
        "fid": 2.0,
    }


# --- references ---


def saved(path, dimensions, **said):
    features = np.random.default_rng(0).normal(size=(40, dimensions))
    np.savez(path, mu=features.mean(0), sigma=np.cov(features, rowvar=False), **said)
    return str(path)


@pytest.mark.parametrize(
    ("dimensions", "said", "kid", "words"),
    [
        (5, {}, False, "5"),
        (6, {"n": 40, "protocol": "clean-fid", "extractor": "small"}, False, "clean-fid"),
        (6, {}, True, "features"),
    ],
    ids=["another extractor", "another protocol", "statistics for KID"],
)
def test_a_reference_that_cannot_be_compared_with_is_said_before_the_first_step(
    sampler, small, tmp_path, dimensions, said, kid, words
):
    reference = saved(tmp_path / "reference.npz", dimensions, **said)
    run = sampler(watch={"fid_kimg": 0.016, "fid_images": 8, "fid_reference": reference, "kid": kid})
    with pytest.raises(InputError, match=words):
        train(run, extractor=small)
    assert not (Path(run.output.out) / "log.jsonl").exists()


def test_either_direction_has_a_reference_of_its_own(translator, small, tmp_path):
    horses, zebras = (saved(tmp_path / f"{name}.npz", dimensions) for name, dimensions in (("a", 6), ("b", 5)))
    watch = {"fid_kimg": 0.016, "fid_reference_a": horses}
    assert train(translator(watch=watch), extractor=small).finished
    other = translator(watch=watch | {"fid_reference_b": zebras}, output={"out": str(tmp_path / "other")})
    with pytest.raises(InputError, match="5"):
        train(other, extractor=small)

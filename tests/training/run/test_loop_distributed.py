"""Two processes under torchrun (gloo, on the CPU) train as one does: gradients, averages, snapshots, scores, logs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from training import CycleGANRun, train
from training.games.table import games
from training.options.flags import from_dict, merged, to_dict

HERE = Path(__file__).resolve().parents[1]
# With these, two processes can equal one: without batch norm, whose batch is one process's, and without a pool, which
# each process has for itself. The fully connected networks have neither.
NETWORK = {"dcgan": {"network": "mlp", "discriminator_norm": "none"}, "alae": {"network": "alae-mlp"}}
EQUAL = {
    "hidden": 16,
    "discriminator_hidden": 8,
    "discriminator_norm": "spectral",
    "pool": 0,
    "flips": True,
    "kimg": 0.016,  # rounding grows from step to step: 1e-7 here, 3e-3 of CycleGAN after twice as long
    "precision": "fp32",
    "seed": 2,  # of 0, rounding takes a pixel of CycleGAN's L1 across 0, where its gradient jumps
}


def moved(run, out):
    return run.changed(output={"out": str(out), "name": "run"})


@pytest.fixture(scope="module")
def both(tmp_path_factory, tiny, smallest, small, tricks):
    """The runs of this file in two processes (one torchrun for all, since starting costs most), and alone."""
    root = tmp_path_factory.mktemp("ddp")
    out = {"output": {"out": str(root / "any")}}
    runs = {
        kind: from_dict(game.Run, merged(smallest(kind, **tricks, **(EQUAL | NETWORK.get(kind, {}))), out))
        for kind, game in games().items()
    }
    watch = {"watch": {"fid_kimg": 0.016, "fid_images": 10}, "machine": {"precision": "fp32"}}
    runs["dcgan"] = runs["dcgan"].changed(**watch)
    runs["pooled"] = from_dict(CycleGANRun, merged(merged(tiny["cyclegan"], watch), out))
    jobs = []

    def job(run, out, *, resume=False, stop_after=0):
        config = to_dict(moved(run, root / out))
        jobs.append({"config": config, "resume": resume, "stop_after": stop_after})

    for name, run in runs.items():
        job(run, f"{name}-two")
    job(runs["pooled"], "stopped", stop_after=3)
    job(runs["pooled"], "stopped", resume=True)
    (root / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(HERE / "two_processes.py"), str(root / "jobs.json")],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=1800,  # against hanging alone: on a busy machine two processes may take minutes
    )
    assert done.returncode == 0, done.stderr[-4000:]
    for name, run in runs.items():
        train(moved(run, root / f"{name}-one"), extractor=small)
    return root, done


def state_of(folder):
    return torch.load(folder / "state.pt", weights_only=True)


def lines_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def distance(one, two):
    """The norm of the difference over that of the first, all tensors together."""
    one, two = (torch.cat([tensor.flatten() for tensor in tensors]) for tensors in (one, two))
    return float((one - two).norm() / one.norm())


@pytest.mark.parametrize("run", list(games()))
def test_two_processes_compute_what_one_computes(both, run):
    """With every trick of the discriminator's side; draws that differed would move moments by as much as they are.

    Biases are left out: instance norm takes one out again, so its gradient is rounding, which Adam makes a whole step.
    """
    root, _ = both
    one, two = state_of(root / f"{run}-one"), state_of(root / f"{run}-two")
    for part in ("networks", "averages"):
        for name, tensors in one[part].items():
            weights = [key for key in tensors if not key.endswith("bias")]
            assert distance(*([state[part][name][key] for key in weights] for state in (one, two))) < 1e-3, name
    for name in one["optimizers"]:
        moments = [[m["exp_avg"] for m in state["optimizers"][name]["state"].values()] for state in (one, two)]
        assert distance(*moments) < 1e-2, name


def test_logs_are_of_both_and_written_once(both):
    root, done = both
    one, two = lines_of(root / "dcgan-one"), lines_of(root / "dcgan-two")
    assert [line["images"] for line in two] == [line["images"] for line in one]
    for mine, theirs in zip(one, two, strict=True):
        for name in ("loss_d", "loss_g", "d_real", "d_fake", "g_gradient_norm"):
            assert theirs[name] == pytest.approx(mine[name], rel=1e-3, abs=1e-5), name
    assert done.stdout.count("kimg") == sum(
        len(lines_of(root / name)) for name in (*(f"{kind}-two" for kind in games()), "pooled-two", "stopped")
    )


def test_scores_are_those_of_one_process(both):
    root, _ = both
    for name in ("dcgan", "pooled"):
        for mine, theirs in zip(lines_of(root / f"{name}-one"), lines_of(root / f"{name}-two"), strict=True):
            for metric in (key for key in mine if key.startswith("fid")):
                tolerance = 1e-2 if name == "dcgan" else 0.5  # the translators' pools differ from here on
                assert theirs[metric] == pytest.approx(mine[metric], rel=tolerance), (name, metric)
    assert "fid" in lines_of(root / "dcgan-two")[-1]


def test_a_signal_to_one_stops_both_and_both_go_on_exactly(both):
    root, done = both
    assert done.stderr.count("Go on with: torchrun (again 2 processes) -m training --resume") == 1
    straight, resumed = state_of(root / "pooled-two"), state_of(root / "stopped")
    assert straight["world"] == 2
    assert len(straight["pools"]) == 2
    assert not torch.equal(straight["pools"][0]["a"], straight["pools"][1]["a"])
    for part in ("networks", "averages"):
        for name, tensors in straight[part].items():
            assert all(torch.equal(tensor, resumed[part][name][key]) for key, tensor in tensors.items())
    for mine, theirs in zip(straight["pools"], resumed["pools"], strict=True):
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)

"""A process of two is killed: the other ends with a sentence, torchrun starts both again, and nothing shows of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from training.cli import main

HERE = Path(__file__).resolve().parents[1]


def state_of(folder):
    return torch.load(folder / "state.pt", weights_only=True)


def lines_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def tensors(state, where=""):
    """Every tensor of a snapshot, by its path."""
    if torch.is_tensor(state):
        return {where: state}
    parts = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    return {path: found for key, part in parts for path, found in tensors(part, f"{where}/{key}").items()}


@pytest.fixture(scope="module")
def killed(tmp_path_factory, tiny):
    """One run that lost a process between two snapshots, and the same without that, under one torchrun."""
    root = tmp_path_factory.mktemp("lost")
    for name in ("straight", "killed"):
        config = {"kind": "cyclegan", **tiny["cyclegan"], "output": {"out": str(root / name), "name": "run"}}
        (root / f"{name}.json").write_text(json.dumps(config))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    told = subprocess.run(
        [*torchrun, "--max-restarts", "1", HERE / "lost_process.py", "6", root / "straight.json", root / "killed.json"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=500,  # against hanging alone
    )
    assert told.returncode == 0, told.stderr[-4000:]
    return root, told.stderr


def test_the_run_ends_as_if_no_process_had_been_lost(killed):
    root, _ = killed
    lost, straight = (tensors(state_of(root / name)) for name in ("killed", "straight"))
    assert lost.keys() == straight.keys()
    assert [path for path in lost if not torch.equal(lost[path], straight[path])] == []
    assert [line["images"] for line in lines_of(root / "killed")] == [
        line["images"] for line in lines_of(root / "straight")
    ]


def test_the_process_that_is_left_says_why_it_ends(killed):
    root, said = killed
    assert "error: Process 0 of 2 ends, because another one has ended or cannot be reached (" in said
    assert f"The last good snapshot is {root}/killed/state.pt." in said
    assert "rank0]: Traceback" not in said
    assert said.count("ends, because") == 1


def test_what_has_come_to_its_end_says_so_and_is_no_error(killed, capsys):
    root, _ = killed
    before = state_of(root / "straight")["progress"]
    assert main(["--config", str(root / "straight.json"), "--continue"]) == 0
    said = capsys.readouterr().err
    assert f"has come to its end already, at {before['images']} images" in said
    assert "The snapshot is of 2 processes, and the run goes on with 1" in said
    assert state_of(root / "straight")["progress"] == before


def test_one_process_goes_on_with_the_snapshot_of_two(killed, capsys):
    root, _ = killed
    pools = state_of(root / "killed")["pools"]
    assert len(pools) == 2
    arguments = ["--config", str(root / "killed.json"), "--continue", "--kimg", "0.02", "--decay-kimg", "0"]
    assert main(arguments) == 2
    assert "optimizer.decay_kimg" in capsys.readouterr().err  # the rates have begun to fall
    config = json.loads((root / "killed.json").read_text())
    config["output"]["out"] = str(root / "alone")
    (root / "alone").mkdir()
    snapshot = state_of(root / "killed")
    snapshot["progress"] |= {"images": 6, "step": 3}
    torch.save(snapshot, root / "alone" / "state.pt")
    (root / "alone.json").write_text(json.dumps(config))
    assert main(["--config", str(root / "alone.json"), "--continue"]) == 0
    assert len(state_of(root / "alone")["pools"]) == 1
    assert state_of(root / "alone")["progress"]["images"] == 16

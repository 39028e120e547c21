"""What training needs beside the service is looked for before the first step."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models import GanError
from training import train
from training.cli import main
from training.engine import packages

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def without(monkeypatch):
    """Makes packages missing, by name."""

    def take_away(*names):
        found = packages.find_spec
        monkeypatch.setattr(packages, "find_spec", lambda name: None if name in names else found(name))

    return take_away


def test_missing_packages_are_named_with_the_command_that_installs_them(without):
    packages.require_packages("torch")
    without("onnx", "matplotlib")
    with pytest.raises(GanError, match=r"^matplotlib and onnx are not installed: `make setup`"):
        packages.require_packages("matplotlib", "torch", "onnx")


@pytest.mark.parametrize(
    ("missing", "tensorboard", "refused"),
    [("matplotlib", False, True), ("tensorboard", True, True), ("tensorboard", False, False)],
)
def test_a_run_says_so_before_it_makes_a_folder(sampler, without, missing, tensorboard, refused):
    without(missing)
    run = sampler(watch={"tensorboard": tensorboard})
    if refused:
        with pytest.raises(GanError, match=f"{missing} is not installed"):
            train(run)
        assert not Path(run.output.out).exists()
    else:
        assert train(run).finished


def test_the_tools_say_so_too(without, tmp_path, capsys):
    (tmp_path / "x.safetensors").write_bytes(b"")
    without("onnxscript", "matplotlib")
    assert main(["export", str(tmp_path / "x.safetensors"), str(tmp_path / "x.onnx")]) == 2
    assert "onnxscript is not installed" in capsys.readouterr().err
    assert main(["ring", "--out", str(tmp_path / "ring.png")]) == 2
    assert "matplotlib is not installed" in capsys.readouterr().err


def test_a_notebooks_backend_is_not_asked_for(tmp_path):
    """In the environment of a notebook's cells, whose drawing module need not be installed where training runs."""
    program = (
        "import os\nfrom training.engine.packages import without_a_notebooks_backend\n"
        "with without_a_notebooks_backend():\n    from matplotlib.figure import Figure\n"
        "Figure().savefig(os.environ['PICTURE'])\nprint(os.environ['MPLBACKEND'])"
    )
    environment = os.environ | {"MPLBACKEND": "module://not_installed.here", "PICTURE": str(tmp_path / "x.png")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "module://not_installed.here", "it is the notebook's again"
    assert (tmp_path / "x.png").exists()

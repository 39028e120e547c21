"""A set is the same for training as for metrics, in every packing; and what lies around it does not matter."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import metrics
from models import InputError
from training.data.images import Keep, load_images
from training.data.sources import open_source

SIDE = 16
LYING = 6  # of EXIF's orientation, 0x0112: to be turned right by 90 degrees


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8))


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """Eight images, one of them lying on its side, among what does not count."""
    root, elsewhere = tmp_path / "set", tmp_path / "elsewhere"
    for folder in (root / "a/.thumbnails", root / "__MACOSX", root / ".git", elsewhere):
        folder.mkdir(parents=True)
    for seed, name in enumerate(
        ("0.png", "a/1.JFIF", "a/2.jpe", "a/3.pbm", "a/bare", "a/.thumbnails/4.png", ".git/5.png")
    ):
        noise(seed).save(root / name, {".JFIF": "JPEG", ".jpe": "JPEG", ".pbm": "PPM"}.get(Path(name).suffix, "PNG"))
    exif = Image.Exif()
    exif[0x0112] = LYING
    noise(7).save(root / "lying.png", exif=exif)
    noise(8).save(elsewhere / "8.png")
    (root / "linked").symlink_to(elsewhere)
    (root / "hard.png").hardlink_to(root / "0.png")
    (root / "__MACOSX/._0.png").write_bytes(b"a resource fork")
    (root / "labels.csv").write_text("0,1")
    return root


@pytest.mark.parametrize("packing", [None, "zip", "tar", "gztar", "bztar", "xztar"])
def test_training_and_metrics_see_one_set(packing: str | None, messy: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(messy, whole)  # with what is linked, as archives hold it
    path = Path(shutil.make_archive(str(tmp_path / "packed"), packing, whole)) if packing else messy
    opened = metrics.open_images(path)
    scored = np.stack([load() for load in opened.loaders()])
    learnt = load_images(str(path), SIDE, 3).pixels
    assert len(scored) == opened.count == 8
    assert torch.equal(torch.from_numpy(scored), learnt)
    assert opened.skipped == {".csv": 1}
    assert any(np.array_equal(picture, np.rot90(np.asarray(noise(7)), -1)) for picture in scored), "EXIF's turn is made"


def test_folders_around_the_data_are_passed(tmp_path: Path) -> None:
    for name in ("outer/inner/cat", "outer/inner/dog", "outer/inner/empty"):
        (tmp_path / name).mkdir(parents=True)
    noise(0).save(tmp_path / "outer/inner/cat/0.png")
    noise(1).save(tmp_path / "outer/inner/dog/1.png")
    source = open_source(tmp_path)
    assert source.names == ("cat/0.png", "dog/1.png")
    assert source.folders == ("cat", "dog", "empty")
    assert source.read("dog/1.png") == (tmp_path / "outer/inner/dog/1.png").read_bytes()
    assert source.name == tmp_path.name


@pytest.mark.parametrize("domain", ["trainA", "train"])
def test_a_folder_that_says_what_it_holds_stays(domain: str, tmp_path: Path) -> None:
    (tmp_path / domain).mkdir()
    noise(0).save(tmp_path / domain / "0.png")
    assert open_source(tmp_path).names == (f"{domain}/0.png",)


def test_an_image_of_floats_is_named(tmp_path: Path) -> None:
    noise(0).save(tmp_path / "fine.png")
    Image.fromarray(np.zeros((SIDE, SIDE), np.float32)).save(tmp_path / "depth.tif")
    with pytest.raises(InputError, match=r"depth\.tif.* floating point"):
        load_images(str(tmp_path), SIDE, 3)
    with pytest.raises(InputError, match=r"depth\.tif.* floating point"):
        [load() for load in metrics.open_images(tmp_path).loaders()]


def test_a_lost_link_is_a_broken_image(tmp_path: Path) -> None:
    noise(0).save(tmp_path / "fine.png")
    (tmp_path / "lost.png").symlink_to("/nowhere/lost.png")
    with pytest.raises(InputError, match=r"1 of 2 images(?s:.*)lost\.png is a link to /nowhere/lost\.png"):
        load_images(str(tmp_path), SIDE, 3)
    assert len(load_images(str(tmp_path), SIDE, 3, keep=Keep(skip_broken=True))) == 1

"""Splits: what is for testing is not learnt, under whatever name, and where it cannot be told that is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from models import InputError
from training.data.layouts import Files, find
from training.data.sources import open_source


@pytest.fixture
def data(tmp_path: Path):
    def make(*folders: str) -> Path:
        """One image in each of the folders."""
        for folder in folders:
            (tmp_path / folder).mkdir(parents=True)
            Image.new("RGB", (4, 4)).save(tmp_path / folder / "x.png")
        return tmp_path

    return make


@pytest.mark.parametrize("others", [
    ["test"], ["val"], ["valid"], ["validation"], ["test", "validation"], ["dev"], ["test", "unlabeled"],
    ["Test", "Val"], ["testing"], ["eval"],
])  # fmt: skip
@pytest.mark.parametrize("train", ["train", "Train", "TRAIN", "training"])
def test_a_split_is_no_class(train: str, others: list[str], data) -> None:
    parts = [train, *others]
    found = find(open_source(data(*(f"{part}/{name}" for part in parts for name in ("cat", "dog")))))
    assert found == Files((f"{train}/cat/x.png", f"{train}/dog/x.png"), (0, 1), ("cat", "dog"))


def test_the_test_images_are_found_under_their_name(data) -> None:
    source = open_source(data("Training/cat", "Testing/cat", "Validation/cat"))
    assert find(source, "test").names == ("Testing/cat/x.png",)
    with pytest.raises(InputError, match="no test images"):
        find(open_source(data("more/train", "more/val").joinpath("more")), "test")


def test_folders_without_images_beside_a_split_do_not_matter(data) -> None:
    root = data("train/cat", "test/cat")
    (root / "annotations").mkdir()
    (root / "annotations/boxes.csv").write_text("1,2")
    assert find(open_source(root)).names == ("train/cat/x.png",)


@pytest.mark.parametrize("folders", [["train", "bus", "car"], ["test", "control"], ["dev", "ops"]])
def test_classes_may_be_called_as_splits_are(folders: list[str], data) -> None:
    found = find(open_source(data(*folders)))
    assert isinstance(found, Files)
    assert found.classes == tuple(sorted(folders))


@pytest.mark.parametrize("folders", [["train", "test", "bus"], ["train", "Training", "test"], ["train", "val", "x"]])
def test_what_cannot_be_told_apart_is_said(folders: list[str], data) -> None:
    with pytest.raises(InputError, match=r"cannot be told which folders .* are for training"):
        find(open_source(data(*folders)))


def test_two_domains_are_not_classes(data) -> None:
    with pytest.raises(InputError, match="two domains, for a CycleGAN: give one of its folders"):
        find(open_source(data("trainA", "trainB", "testA", "testB")))

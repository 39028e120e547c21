"""The command that draws the avatar data set: the same bytes from a seed, resumable, read by training."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.packaging.making import DATASETS, digests, make
from training.data.images import load_images

TOOL = DATASETS / "avatars"
STYLES = ("lorelei", "notionists", "open-peeps", "pixel-art")
COUNT = 48  # two test pictures of each style

pytestmark = pytest.mark.skipif(
    not (TOOL / "node_modules").exists() or shutil.which("node") is None,
    reason="what draws the avatars is not installed: make avatars does it",
)


@pytest.fixture(scope="module")
def avatars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("avatars")
    done = make("avatars", folder, "--seed", 3, "--count", COUNT)
    assert done.returncode == 0, done.stderr
    return folder


def test_training_finds_the_styles_as_classes_and_the_split(avatars: Path) -> None:
    for size in (64, 128):
        learnt = load_images(str(avatars / f"avatars-{size}"), size, 3, conditional=True)
        unseen = load_images(str(avatars / f"avatars-{size}"), size, 3, conditional=True, split="test")
        assert learnt.classes == unseen.classes == STYLES
        assert learnt.labels is not None
        assert unseen.labels is not None
        assert np.bincount(learnt.labels).tolist() == [10] * 4
        assert np.bincount(unseen.labels).tolist() == [2] * 4


def test_every_picture_has_a_row_with_what_was_drawn(avatars: Path) -> None:
    rows = [json.loads(line) for line in (avatars / "attributes.jsonl").read_text().splitlines()]
    for size in ("avatars-64", "avatars-128"):
        assert {row["file"] for row in rows} == {
            path.relative_to(avatars / size).as_posix() for path in (avatars / size).rglob("*.png")
        }
    assert len(rows) == COUNT
    for row in rows:
        assert row["file"].startswith(f"{row['split']}/{row['style']}/")
        shown = "accessories" if row["style"] == "open-peeps" else "glasses"
        assert row["wears_glasses"] == (row.get(shown, "eyepatch") != "eyepatch")
        assert "head" in row or "hair" in row
    assert {row["wears_glasses"] for row in rows} == {True, False}


def test_the_colours_in_the_table_are_those_in_the_picture(avatars: Path) -> None:
    """The background, told in dataset.json, and the skin of pixel-art, whose pixels have no edges to blend."""
    background = json.loads((avatars / "dataset.json").read_text())["background"]
    for line in (avatars / "attributes.jsonl").read_text().splitlines():
        row = json.loads(line)
        with Image.open(avatars / "avatars-64" / row["file"]) as picture:
            pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
        colours = {f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in np.unique(pixels, axis=0)}
        assert background in colours
        if row["style"] == "pixel-art":
            assert row["skinColor"] in colours


def test_what_was_stopped_goes_on_to_the_same_bytes(avatars: Path, tmp_path: Path) -> None:
    shutil.copytree(avatars, tmp_path / "half")
    (tmp_path / "half" / "attributes.jsonl").unlink()
    for picture in sorted((tmp_path / "half").rglob("*.png"))[::2]:
        picture.unlink()
    assert make("avatars", tmp_path / "half", "--seed", 3, "--count", COUNT).returncode == 0
    assert digests(tmp_path / "half") == digests(avatars)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Name one folder"),
        (("{new}", "--count", "0"), '--count must be a whole number from 1 to 1000000, not "0"'),
        (("{new}", "--seed", "one"), '--seed must be a whole number from 0 to 1000000, not "one"'),
        (("{new}", "--size", "64"), "'--size'"),
        (("{old}", "--seed", "4"), "holds pictures of other flags or versions"),
        (("{old}/dataset.json/below",), "The data set cannot be written: not a directory"),
    ],
    ids=["no folder", "count", "seed", "unknown flag", "another seed", "no place"],
)
def test_a_mistake_is_told_in_a_sentence(arguments: tuple[str, ...], said: str, avatars: Path, tmp_path: Path) -> None:
    done = make("avatars", *(word.format(old=avatars, new=tmp_path / "new") for word in arguments))
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("style", STYLES)
def test_the_designs_are_in_the_public_domain(style: str) -> None:
    """What each package says of its design files, and that no other version of it is installed than the pinned one."""
    package = TOOL / "node_modules" / "@dicebear" / style
    assert re.search(r"# Design\n.*?^License: CC0 1\.0 ", (package / "LICENSE").read_text(), re.DOTALL | re.MULTILINE)
    pinned = json.loads((TOOL / "package.json").read_text())["dependencies"][f"@dicebear/{style}"]
    assert json.loads((package / "package.json").read_text())["version"] == pinned

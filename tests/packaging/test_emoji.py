"""The command that makes the emoji data set: pairs to measure with, none to train on, the same bytes from a seed."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.packaging.making import DATASETS, digests, make
from training.data.images import load_domain

TOOL = DATASETS / "emoji"
PACKAGES = TOOL / "node_modules"
SMALL = ("--seed", 3, "--count", 40, "--held-out", 8)
TONES = re.compile("-1f3f[b-f]")

pytestmark = pytest.mark.skipif(
    not PACKAGES.exists() or shutil.which("node") is None,
    reason="what holds the emoji is not installed: make emoji does it",
)


@pytest.fixture(scope="module")
def emoji(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("emoji")
    done = make("emoji", folder, *SMALL)
    assert done.returncode == 0, done.stderr
    return folder


def names(emoji: Path, domain: str) -> set[str]:
    return {path.stem for path in (emoji / "google2openmoji" / domain).iterdir()}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_training_finds_two_domains_of_64_px(emoji: Path) -> None:
    for domain in ("trainA", "trainB", "testA", "testB"):
        found = load_domain(str(emoji / "google2openmoji"), domain, 64)
        assert found is not None
        assert found.name == "google2openmoji"
        assert len(found) == len(names(emoji, domain)) >= (8 if domain.startswith("test") else 16)
    picture = next((emoji / "google2openmoji" / "testB").iterdir())
    assert pixels(picture).shape == (64, 64, 3)


def test_test_pictures_are_pairs_and_training_pictures_are_none(emoji: Path) -> None:
    """Skin tones are drawn alike, so that a character's have to stay together."""
    held_out, train_a, train_b = (
        {TONES.sub("", name) for name in names(emoji, domain)} for domain in ("testA", "trainA", "trainB")
    )
    assert names(emoji, "testA") == names(emoji, "testB")
    assert len(held_out) == len(names(emoji, "testA")) == 8
    assert len(train_a) == len(train_b) == 16
    assert not held_out & train_a
    assert not held_out & train_b
    assert not train_a & train_b
    assert any(TONES.search(name) for name in names(emoji, "trainA"))


def test_google_s_pixels_are_its_own_on_white(emoji: Path) -> None:
    """Pillow's compositing is the oracle."""
    source = PACKAGES / "emoji-datasource-google" / "img" / "google" / "64"
    files = {path.stem.replace("-fe0f", ""): path for path in source.iterdir()}
    for name in names(emoji, "testA"):
        with Image.open(files[name]) as drawn:
            wanted = Image.new("RGBA", drawn.size, "white")
            wanted.alpha_composite(drawn.convert("RGBA"))
        np.testing.assert_array_equal(
            pixels(emoji / "google2openmoji" / "testA" / f"{name}.png"), np.asarray(wanted.convert("RGB"))
        )


def test_openmoji_s_drawings_lie_on_white_too_and_fill_the_picture(emoji: Path) -> None:
    assert json.loads((emoji / "dataset.json").read_text())["background"] == "#ffffff"
    sides = []
    for path in (emoji / "google2openmoji" / "trainB").iterdir():
        drawn = (pixels(path) < 250).any(axis=2)
        assert 0 < drawn.mean() < 0.95
        sides.append(max(np.ptp(np.nonzero(drawn)[0]), np.ptp(np.nonzero(drawn)[1])))
    assert 48 < np.median(sides) < 64


def test_what_was_stopped_goes_on_to_the_same_bytes(emoji: Path, tmp_path: Path) -> None:
    shutil.copytree(emoji, tmp_path / "half")
    for picture in sorted((tmp_path / "half").rglob("*.png"))[::2]:
        picture.unlink()
    assert make("emoji", tmp_path / "half", *SMALL).returncode == 0
    assert digests(tmp_path / "half") == digests(emoji)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--count", "9999"), '--count must be a whole number from 3 to 1911, not "9999"'),
        (("--count", "40", "--held-out", "39"), "--held-out 39 of 40 characters leaves none to train A or B on"),
    ],
    ids=["count", "held out"],
)
def test_a_mistake_is_told_in_a_sentence(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = make("emoji", tmp_path / "new", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_the_packages_give_the_licences_that_the_data_set_names(emoji: Path) -> None:
    """And no other version of them is installed than the pinned one."""
    google, openmoji = PACKAGES / "emoji-datasource-google", PACKAGES / "openmoji"
    assert re.search(r"Google/Noto images, .* \[Apache License 2\.0\]", (google / "README.md").read_text())
    assert (openmoji / "LICENSE.txt").read_text().startswith("Attribution-ShareAlike 4.0 International")
    about = json.loads((emoji / "dataset.json").read_text())
    assert about["licences"] == {"google": "Apache-2.0", "openmoji": "CC-BY-SA-4.0"}
    for package in (google, openmoji):
        assert json.loads((package / "package.json").read_text())["version"] == about["made_by"][package.name]

"""Which files of a set are images, and that folder, zip and tar give the same set."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from models import filesets

Pack = Callable[[Path, Path], Path]


def picture(shade: int = 0, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (shade, 0, 0)).save(buffer, kind)
    return buffer.getvalue()


def fill(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def as_folder(root: Path, _target: Path) -> Path:
    return root


def as_zip(root: Path, target: Path) -> Path:
    with zipfile.ZipFile(target / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(root.rglob("*"), reverse=True):
            archive.write(path, path.relative_to(root).as_posix())
    return target / "set.zip"


def as_tar(root: Path, target: Path, mode: str = "w") -> Path:
    with tarfile.open(target / "set.tar", mode) as archive:
        archive.add(root, ".")  # as people type it: tar cf set.tar .
    return target / "set.tar"


PACKS: list[Pack] = [
    as_folder,
    as_zip,
    as_tar,
    lambda root, target: as_tar(root, target, "w:gz"),
    lambda root, target: as_tar(root, target, "w:bz2"),
    lambda root, target: as_tar(root, target, "w:xz"),
]
IDS = ["folder", "zip", "tar", "tar.gz", "tar.bz2", "tar.xz"]
every_packing = pytest.mark.parametrize("pack", PACKS, ids=IDS)


@every_packing
def test_every_packing_holds_the_same_set(pack: Pack, tmp_path: Path) -> None:
    root = fill(
        tmp_path / "root",
        {
            "b/2.PNG": picture(2),
            "a/1.jfif": picture(1, "JPEG"),
            "a/10.jpe": picture(10, "JPEG"),
            "a/bare": picture(3, "WEBP"),  # many data sets name their files by a number alone
            "a/notes": b"no image, and not called one",
            "labels.csv": b"a,b",
            "more.csv": b"",
            "new.svg": b"of a kind that is not read",
            ".hidden.png": picture(),
            ".ipynb_checkpoints/1.png": picture(),
            "a/.thumbnails/deep/1.png": picture(),
            "__MACOSX/a/._1.png": b"a resource fork",
        },
    )
    files = filesets.open_files(pack(root, tmp_path))
    assert files.images == ("a/1.jfif", "a/10.jpe", "a/bare", "b/2.PNG")
    assert [files.read(name) for name in files.images] == [(root / name).read_bytes() for name in files.images]
    assert files.folders == ("a", "b")
    assert files.skipped == {".csv": 2, "": 1, ".svg": 1}
    assert files.read("labels.csv", 1) == b"a"


def test_what_was_left_out_is_one_sentence() -> None:
    said = filesets.why_skipped({".csv": 2, "": 1})
    assert said is not None
    assert said.startswith("3 files were left out")
    assert "2 .csv, 1 without an ending" in said
    assert "jfif" in said
    assert filesets.why_skipped({}) is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_every_accepted_kind_is_known_by_its_first_bytes(kind: str) -> None:
    assert filesets.begins_like_an_image(picture(9, kind)[:16])
    assert not filesets.begins_like_an_image(b"\0" + picture(9, kind)[:15])


@pytest.mark.parametrize("pack", [as_folder, *PACKS[2:]], ids=["folder", *IDS[2:]])
def test_links_give_what_they_point_to(pack: Pack, tmp_path: Path) -> None:
    """Links in zips are written by other tools than zipfile: see test_zips."""
    root = fill(tmp_path / "root", {"set/0.png": picture(0), ".objects/ab": picture(7)})
    os.link(root / "set/0.png", root / "set/hard.png")
    (root / "set/soft.png").symlink_to("0.png")
    (root / "set/twice.png").symlink_to("soft.png")
    (root / "annexed.png").symlink_to(".objects/ab")  # as git-annex keeps its files
    files = filesets.open_files(pack(root, tmp_path))
    assert files.images == ("annexed.png", "set/0.png", "set/hard.png", "set/soft.png", "set/twice.png")
    assert [files.read(name) for name in files.images] == [picture(7)] + 4 * [picture(0)]


def test_names_that_are_not_utf_8_can_be_printed(tmp_path: Path) -> None:
    root = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(root)
    Path(os.fsdecode(root + b"/\xff.png")).write_bytes(picture())
    files = filesets.open_files(Path(os.fsdecode(root)))
    assert files.name.encode().endswith("caf\N{REPLACEMENT CHARACTER}".encode())
    assert files.read(files.images[0]) == picture()
    shutil.rmtree(root)

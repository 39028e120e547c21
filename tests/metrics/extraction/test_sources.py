"""Every place images come from, every kind of pixel they hold, and what is said of the ones that are none."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import metrics
import models
from models import BrokenImageError, ImageError, InputError, LimitError, NotFoundError

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=2)


def pixels_of(source: object) -> list[np.ndarray]:
    return [load() for load in metrics.open_images(source).loaders()]


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_every_kind_of_pixel_becomes_rgb_in_the_documented_way(tmp_path: Path) -> None:
    rgb = Image.fromarray(COLOUR)
    transparent = Image.fromarray(np.dstack([COLOUR, np.zeros_like(GREY)]))
    grey3 = np.repeat(GREY[..., None], 3, axis=2)
    few_colours = Image.fromarray(COLOUR).quantize(4)
    cases = {
        "rgb.png": (rgb, COLOUR, 0),
        "grey.png": (Image.fromarray(GREY), grey3, 0),
        "deep.png": (Image.fromarray(GREY.astype(np.uint16) * 257), grey3, 0),  # 16 bits are scaled, not clipped
        "alpha.png": (transparent, COLOUR, 0),  # dropped, not blended
        "palette.png": (few_colours, np.asarray(few_colours.convert("RGB")), 0),
        "cmyk.tif": (rgb.convert("CMYK"), COLOUR, 1),
    }
    for name, (image, _, _) in cases.items():
        image.save(tmp_path / name)
    for name, (_, expected, tolerance) in cases.items():
        (found,) = pixels_of([tmp_path / name])
        assert found.shape == (6, 8, 3), name
        assert found.dtype == np.uint8
        assert int(np.abs(found.astype(int) - expected).max()) <= tolerance, name


def test_a_folder_is_searched_through_in_order_and_other_files_are_passed_over(tmp_path: Path) -> None:
    for name in ("b/1.png", "a/2.PNG", "a/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shade = len(name) + ord(name[0]) + int(name[2])
        Image.fromarray(np.full((2, 2, 3), shade, np.uint8)).save(tmp_path / name, "PNG")
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_bytes(b"neither")
    opened = metrics.open_images(tmp_path)
    assert opened.count == 3
    assert [int(found[0, 0, 0]) for found in pixels_of(str(tmp_path))] == [7 + 97 + 1, 7 + 97 + 2, 7 + 98 + 1]


@pytest.mark.parametrize("packing", ["zip", "tar", "tar.gz"])
def test_an_archive_holds_what_its_folder_held(packing: str, horses: Path, tmp_path: Path) -> None:
    files = sorted(horses.iterdir())[:3]
    path = tmp_path / f"set.{packing}"
    if packing == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in files:
                archive.write(file, f"deep/er/{file.name}")
            archive.writestr("__MACOSX/._a.jpg", b"resource fork")
            archive.writestr("readme.txt", b"text")
    else:
        with tarfile.open(path, "w:gz" if packing.endswith("gz") else "w") as archive:
            for file in files:
                archive.add(file, f"../../{file.name}")  # never unpacked, so it leads nowhere
    opened = metrics.open_images(path)
    assert opened.count == 3
    for found, file in zip(pixels_of(path), files, strict=True):
        assert np.array_equal(found, np.asarray(Image.open(file)))
    assert opened.digest is not None
    copied = tmp_path / "copied"
    copied.mkdir()
    for index, file in enumerate(reversed(files)):
        (copied / f"{index}.jpg").write_bytes(file.read_bytes())
    same = metrics.open_images(copied).digest
    assert same is not None
    assert same() == opened.digest(), "names, order and packing are not content"
    listed = metrics.open_images(files[::-1]).digest
    assert listed is not None
    assert listed() == opened.digest()


def test_arrays_bytes_paths_and_pillow_images_mix_in_an_iterable(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "x.png")
    items = [COLOUR, GREY, np.stack([COLOUR, COLOUR]), png(Image.fromarray(COLOUR)), tmp_path / "x.png"]
    found = pixels_of(iter([*items, Image.fromarray(COLOUR), np.dstack([COLOUR, GREY])]))
    assert len(found) == 8
    assert all(np.array_equal(each, COLOUR) for index, each in enumerate(found) if index != 1)
    assert np.array_equal(found[1], np.dstack([GREY] * 3))
    assert metrics.open_images(items[:2]).count == 2
    assert metrics.open_images(iter(items)).count is None
    assert metrics.open_images(np.stack([GREY] * 4)).count == 4


def test_a_checkpoint_draws_seeded_samples(tmp_path: Path) -> None:
    config = models.DCGANConfig(image_size=16, channels=1, latent_size=5, width=8)
    models.save(tmp_path / "g.safetensors", config.parts(), models.metadata_of(config))
    opened = metrics.open_images(metrics.Samples(tmp_path / "g.safetensors", count=40, seed=7))
    drawn = [load() for load in opened.loaders()]
    generator = models.load(tmp_path / "g.safetensors")
    assert isinstance(generator, models.Generator)
    expected = models.to_uint8(generator(models.draw([7 + 39], 5)))[0]
    assert len(drawn) == opened.count == 40
    assert drawn[39].shape == (16, 16, 3)
    assert np.array_equal(drawn[39], np.repeat(expected, 3, axis=2))
    again = metrics.open_images(metrics.Samples(tmp_path / "g.safetensors", count=40, seed=8))
    assert opened.digest is not None
    assert again.digest is not None
    assert opened.digest() != again.digest()
    for count in (0, 10**16):  # whose seeds alone would take the memory of any machine
        with pytest.raises(InputError, match="at least 1, and at most 10,000,000"):
            metrics.open_images(metrics.Samples(tmp_path / "g.safetensors", count=count))


def test_what_is_no_source_says_what_would_be_one(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("not a zip")
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("readme.txt", "text")
    cases: list[tuple[object, type[Exception], str]] = [
        (tmp_path / "missing", NotFoundError, "no file or folder"),
        (tmp_path / "empty", InputError, "no image in"),
        (tmp_path / "none.zip", InputError, "no image in none.zip"),
        (tmp_path / "text.zip", InputError, "neither a folder nor a .zip or .tar archive"),
        ([], InputError, "list of images is empty"),
        (np.zeros((0, 4, 4, 3), np.uint8), InputError, "holds no image"),
        (np.zeros((2, 4, 4, 3), np.float32), InputError, r"uint8 \[n, h, w, 3\]"),
        (np.zeros((2, 4, 4, 2), np.uint8), InputError, r"uint8 \[n, h, w, 3\]"),
        (3, InputError, "Cannot read images from a int"),
        (b"bytes", InputError, "Cannot read images from a bytes"),
    ]
    for source, kind, message in cases:
        with pytest.raises(kind, match=message):
            metrics.open_images(source)


def test_a_listed_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    opened = metrics.open_images([tmp_path / "gone.png", str(tmp_path / "too.png")])
    assert opened.digest is not None
    with pytest.raises(InputError, match=r"gone\.png cannot be read: No such file"):
        opened.digest()
    with pytest.raises(InputError, match=r"gone\.png cannot be read: No such file"):
        next(opened.loaders())()
    assert metrics.open_images([tmp_path / "gone.png", b"bytes"]).digest is None, "no cheap one"


def test_a_bad_image_is_named(horses: Path, tmp_path: Path) -> None:
    whole = sorted(horses.iterdir())[0].read_bytes()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BrokenImageError, match=r"sub.cut\.jpg is truncated"):
        pixels_of(tmp_path)
    (tmp_path / "sub" / "cut.jpg").write_bytes(b"text")
    with pytest.raises(ImageError, match=r"sub.cut\.jpg is not an image"):
        pixels_of(tmp_path)
    with pytest.raises(InputError, match="image 1 must be uint8"):
        pixels_of([COLOUR, COLOUR.astype(float)])
    with pytest.raises(InputError, match="image 1 is a dict"):
        pixels_of(iter([COLOUR, {}]))


def test_archives_that_are_damaged_locked_or_swollen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "fine.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", png(Image.fromarray(COLOUR)))
    data = bytearray((tmp_path / "fine.zip").read_bytes())
    data[45:60] = b"\xff" * 15
    (tmp_path / "damaged.zip").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.png cannot be read out of damaged\.zip"):
        pixels_of(tmp_path / "damaged.zip")
    monkeypatch.setattr("models.filesets.members.MAX_IMAGE_BYTES", 10)
    with pytest.raises(LimitError, match=r"a\.png unpacks to"):
        pixels_of(tmp_path / "fine.zip")

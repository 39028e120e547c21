"""An `.npz` of images scores as its images do; whatever else it holds is said."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import metrics
from metrics import open_images, stored_images
from models import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 4, 3), dtype=np.uint8)


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def read(path: Path) -> list[np.ndarray]:
    return [load() for load in open_images(path).loaders()]


@pytest.mark.parametrize("name", ["arr_0", "images"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_its_images_are_those_of_the_array(tmp_path: Path, name: str, channels: int) -> None:
    array = np.concatenate([PIXELS, PIXELS], axis=3)[..., :channels]
    path = tmp_path / "set.npz"
    path.write_bytes(npz(**{name: array, "seeds": np.arange(5), "model": np.array("tiny")}))
    alone, found = open_images(array), open_images(path)
    np.testing.assert_array_equal(read(path), [load() for load in alone.loaders()])
    assert found.count == alone.count == 5
    assert found.digest is not None
    assert alone.digest is not None
    assert found.digest() == alone.digest()  # so that kept features of the one serve the other


def test_grey_images_may_do_without_channels(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, PIXELS[..., 0])
    np.testing.assert_array_equal(read(path), PIXELS[..., :1].repeat(3, axis=3))


def test_statistics_beside_images_are_taken_as_these() -> None:
    assert stored_images(npz(arr_0=PIXELS, mu=np.zeros(4), sigma=np.eye(4)), "x") is None
    assert stored_images(npz(other=PIXELS), "x") is None
    assert stored_images(b"no archive", "x") is None


@pytest.mark.parametrize("shape", ["(-1, 8, 8, 3)", "(" + "9" * 5000 + ",)", "(" * 5000])
def test_a_header_that_numpy_does_not_write_is_a_short_sentence(shape: str) -> None:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(InputError) as refused:
        stored_images(packed.getvalue(), "x")
    assert len(refused.value.message) < 200
    assert refused.value.message.startswith(("x is damaged: ", "images in x is uint8 [-1,"))


@pytest.mark.parametrize(
    "array",
    [
        PIXELS.astype(np.float32),
        PIXELS[..., :2],
        PIXELS[0, 0],
        PIXELS[:0],
        np.asfortranarray(PIXELS),
        np.array(["text"]),
    ],
    ids=["floats", "two channels", "two dimensions", "none", "Fortran's order", "text"],
)
def test_what_is_no_array_of_images_is_said(array: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"arr_0 in x is .* and images are uint8"):
        stored_images(npz(arr_0=array), "x")


def test_a_damaged_array_is_said_where_it_is_met() -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, PIXELS)
    short = io.BytesIO()
    with zipfile.ZipFile(short, "w") as archive:
        archive.writestr("arr_0.npy", buffer.getvalue()[:-7])
    stored = stored_images(short.getvalue(), "x")
    assert stored is not None
    with pytest.raises(InputError, match="x is damaged"):
        list(stored.rows())
    cut = io.BytesIO()
    with zipfile.ZipFile(cut, "w") as archive:
        archive.writestr("arr_0.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b" " * 100)
    with pytest.raises(InputError, match="x is damaged"):
        stored_images(cut.getvalue(), "x")


def test_a_pickle_is_not_loaded() -> None:
    with pytest.raises(InputError, match="arr_0 in x is object"):
        stored_images(npz(arr_0=np.array([{}], dtype=object)), "x")


def test_metrics_score_it(tmp_path: Path, small: Any) -> None:
    path = tmp_path / "set.npz"
    path.write_bytes(npz(images=PIXELS))
    by_file = metrics.score(path, PIXELS[::-1], extractor=small, bootstrap=0)
    assert by_file["fid"]["value"] == pytest.approx(0, abs=1e-6)

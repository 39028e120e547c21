"""Packs: what a library writes in one go, written piece by piece."""

import io
import json
import zipfile

import numpy as np

from service.call import Answer
from service.encoding.packing import JsonPack, NpzPack, ZipPack


def test_a_zip_holds_its_files_and_equal_content_is_equal_bytes() -> None:
    named = {"000.png": b"one", "001.png": b"two" * 1000}
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        pack = ZipPack(file)
        for name, data in named.items():
            pack.add(name, data)
        pack.close()
    assert files[0].getvalue() == files[1].getvalue()
    with zipfile.ZipFile(files[0]) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == named


def test_an_npz_is_byte_for_byte_what_numpy_writes() -> None:
    images = np.random.default_rng(0).integers(0, 40, (30, 16, 16, 3), dtype=np.uint8)
    others = {"latents": np.ones((30, 8), np.float32), "seeds": np.arange(30)}
    file, whole = io.BytesIO(), io.BytesIO()
    pack = NpzPack(file, "images", len(images))
    for image in images:
        pack.add(image)
    pack.close(others)
    np.savez_compressed(whole, images=images, **others)
    assert file.getvalue() == whole.getvalue()


def test_json_is_byte_for_byte_what_an_answer_is() -> None:
    head = {"model": "dcgän", "seeds": [1, None]}
    for images in ([], [{"data": "a"}], ["a", "b", "c"]):
        file = io.BytesIO()
        pack = JsonPack(file, head, "images")
        for one in images:
            pack.add(one)
        pack.close()
        assert file.getvalue() == Answer.of({**head, "images": images}).content
        assert json.loads(file.getvalue())["images"] == images


def test_a_pack_that_is_given_up_leaves_its_file_alone() -> None:
    """A job that is cancelled closes its temporary file first; an unraisable exception would fail this test."""
    for pack in (ZipPack(file := io.BytesIO()), NpzPack(file, "images", 2)):
        if isinstance(pack, ZipPack):
            pack.add("a", b"a")
        else:
            pack.add(np.zeros((2, 2), np.uint8))
        before = file.getvalue()
        del pack
        assert file.getvalue() == before

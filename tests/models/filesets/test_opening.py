"""`open_files`: content decides what a path is, and what is nothing of the kind is said."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from models import InputError, NotFoundError, filesets


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.tar", "w") as archive:
        archive.writestr("a.png", b"a")
    assert filesets.open_files(tmp_path / "photos.tar").names == ("a.png",)
    program = b"#!/bin/sh\nexec unzip $0\n" + (tmp_path / "photos.tar").read_bytes()
    (tmp_path / "self-extracting").write_bytes(program)
    assert filesets.open_files(tmp_path / "self-extracting").names == ("a.png",)


def test_what_is_no_set_of_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, kind, said in (
        ("pipe", InputError, "pipe is a pipe, a socket or a device"),
        ("text", InputError, "text is neither a folder nor"),
        ("empty", InputError, "empty is neither a folder nor"),
        ("loop", NotFoundError, "no file or folder"),
        ("missing", NotFoundError, "no file or folder"),
    ):
        with pytest.raises(kind, match=said):
            filesets.open_files(tmp_path / name)

"""Folders: links are followed and never round in circles, and what cannot be read is named."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from models import InputError, filesets
from models.filesets.folders import open_folder


def test_linked_folders_are_read(tmp_path: Path) -> None:
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    (tmp_path / "elsewhere/deep/a.png").write_bytes(b"a")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/link").symlink_to(tmp_path / "elsewhere")
    files = open_folder(tmp_path / "set")
    assert files.names == ("link/deep/a.png",)
    assert files.read("link/deep/a.png") == b"a"


def test_links_in_a_circle_are_walked_once(tmp_path: Path) -> None:
    """To a folder above, to the folder itself, and two folders that point into each other."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(b"x")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "a/self").symlink_to(tmp_path / "a")
    (tmp_path / "a/other").symlink_to(tmp_path / "b")
    (tmp_path / "b/other").symlink_to(tmp_path / "a")
    assert open_folder(tmp_path).names == ("a/other/x.png", "a/x.png", "b/other/x.png", "b/x.png")


def test_a_link_to_nowhere_is_named_with_where_it_points(tmp_path: Path) -> None:
    (tmp_path / "lost.png").symlink_to("/nowhere/lost.png")
    files = open_folder(tmp_path)
    assert files.images == ("lost.png",), "it is not left out without a word"
    with pytest.raises(InputError, match=r"lost\.png is a link to /nowhere/lost\.png, which is not there"):
        files.read("lost.png")


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.png"))
    files = open_folder(tmp_path)
    assert files.images == ("pipe.png", "socket.png")
    for name in files.images:
        with pytest.raises(InputError, match=f"{name} is a pipe, a socket or a device"):
            files.read(name)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    scan = os.scandir

    def refuse(path: Path) -> object:
        if path.name == "locked":  # root may list any folder, so the refusal is made
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="locked cannot be read: Permission denied"):
        filesets.open_files(tmp_path)

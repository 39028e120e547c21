"""Zips as tools write them: names, links, passwords, methods, damage."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest

from models import InputError, LimitError, filesets
from models.filesets.zips import open_zip


def packed(path: Path, members: dict[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def patched(path: Path, at: int, data: bytes) -> Path:
    """The bytes put into every local and central header of the archive, at their place in the local one."""
    whole = bytearray(path.read_bytes())
    for signature, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        start = whole.find(signature)
        while start >= 0:
            whole[start + at + shift : start + at + shift + len(data)] = data
            start = whole.find(signature, start + 4)
    path.write_bytes(whole)
    return path


def test_names_as_other_tools_write_them(tmp_path: Path) -> None:
    """Windows separators and drives, absolute and dotted names; UTF-8 that is not said to be, and cp437."""
    dotted = {"C:\\Users\\x\\1.png": b"1", "/abs/2.png": b"2", "./3.png": b"3", "a/../../4.png": b"4"}
    files = open_zip(packed(tmp_path / "dotted.zip", dict(dotted)))
    assert files.images == ("3.png", "Users/x/1.png", "a/4.png", "abs/2.png")
    assert files.read("Users/x/1.png") == b"1"
    whole = packed(tmp_path / "page.zip", {"xxxxx.png": b"1", "yyyy.png": b"2"}).read_bytes()
    whole = whole.replace(b"xxxxx", "häst".encode()).replace(b"yyyy", "håst".encode("cp437"))
    (tmp_path / "page.zip").write_bytes(whole)
    assert open_zip(tmp_path / "page.zip").images == ("häst.png", "håst.png")


def test_of_equal_names_the_last_counts_once(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("a.png", b"old")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.png", b"new")
    files = open_zip(tmp_path / "twice.zip")
    assert [files.read(name) for name in files.images] == [b"new"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_method_of_the_library_is_read(method: int, tmp_path: Path) -> None:
    assert open_zip(packed(tmp_path / "a.zip", {"a.png": b"a" * 99}, method)).read("a.png") == b"a" * 99


@pytest.mark.parametrize(
    ("method", "said"), [(9, "deflate64"), (93, "Zstandard"), (95, "xz"), (98, "PPMd"), (1, "zip's method 1")]
)
def test_other_methods_are_said_at_once(method: int, said: str, tmp_path: Path) -> None:
    path = patched(packed(tmp_path / "a.zip", {"deep/a.png": b"a" * 99}), 8, method.to_bytes(2, "little"))
    with pytest.raises(InputError, match=rf"deep/a\.png in a\.zip is packed with {said}, .* deflate"):
        open_zip(path)


def test_a_password_is_said_at_once(tmp_path: Path) -> None:
    path = patched(packed(tmp_path / "a.zip", {"a.png": b"a"}), 6, b"\x01")
    with pytest.raises(InputError, match=r"a\.png in a\.zip is encrypted: pack it without a password"):
        open_zip(path)


def test_links_of_unix_are_followed_inside_the_archive(tmp_path: Path) -> None:
    def link(name: str) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name)
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        return info

    files = open_zip(packed(tmp_path / "a.zip", {"set/a.png": b"a", link("other/b.png"): b"../set/a.png"}))
    assert files.read("other/b.png") == b"a"
    for target, said in {
        "/etc/a.png": "what the archive does not hold",
        "../set": "a folder",
        "b.png": "not hold",
    }.items():
        with pytest.raises(InputError, match=rf"other/b\.png in b\.zip is a link to .*{said}"):
            open_zip(packed(tmp_path / "b.zip", {"set/a.png": b"a", link("other/b.png"): target.encode()}))


def test_zip64_is_read(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("a.png", "w", force_zip64=True) as member:
        member.write(b"a")
    (tmp_path / "a.zip").write_bytes(buffer.getvalue())
    assert open_zip(tmp_path / "a.zip").read("a.png") == b"a"


def test_damage_is_a_sentence(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", {"a.png": b"a" * 5000}, zipfile.ZIP_STORED)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(InputError, match=r"The archive a\.zip is damaged"):
        filesets.open_files(path)
    path.write_bytes(whole.replace(b"aaa", b"bbb"))
    with pytest.raises(InputError, match=r"a\.png cannot be read out of a\.zip: Bad CRC"):
        filesets.open_files(path).read("a.png")


def test_an_image_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.filesets.members.MAX_IMAGE_BYTES", 10)
    files = open_zip(packed(tmp_path / "a.zip", {"a.png": bytes(11), "labels.idx": bytes(11)}))
    assert len(files.read("labels.idx")) == 11, "other data may be as large as it likes"
    with pytest.raises(LimitError, match=r"a\.png unpacks to 11 bytes"):
        files.read("a.png")

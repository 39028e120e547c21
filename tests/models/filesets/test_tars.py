"""Tars as tools write them: names, links, odd members, damage, and where compressed ones are unpacked."""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
from pathlib import Path

import pytest

from models import InputError, LimitError, filesets
from models.filesets.tars import Span, open_tar


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def packed(path: Path, *members: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> Path:
    """Every member's content is its name, as often as its size takes."""
    with tarfile.open(path, "w", format=form) as archive:
        for info in members:
            archive.addfile(info, io.BytesIO((info.name.encode() * info.size)[: info.size]))
    return path


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_and_places(form: int, tmp_path: Path) -> None:
    deep = "x" * 90 + "/" + "y" * 60 + ".png"
    path = packed(tmp_path / "a.tar", *(member(name, size=4) for name in ("../up.png", "/abs.png", deep)), form=form)
    files = filesets.open_files(path)
    assert files.images == ("abs.png", "up.png", deep)
    assert [files.read(name) for name in files.images] == [b"/abs", b"../u", b"xxxx"]
    assert files.read(deep, 2) == b"xx"


def test_a_tar_from_before_the_signature_is_known_by_its_checksum(tmp_path: Path) -> None:
    whole = bytearray(packed(tmp_path / "a.tar", member("a.png", size=3), form=tarfile.USTAR_FORMAT).read_bytes())
    whole[257:265] = bytes(8)
    whole[148:156] = b" " * 8
    whole[148:156] = b"%06o\0 " % sum(whole[:512])
    (tmp_path / "a.tar").write_bytes(whole)
    assert filesets.open_files(tmp_path / "a.tar").read("a.png") == b"a.p"


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (
            member("b.png", tarfile.SYMTYPE, "/nowhere/b.png"),
            r"b\.png in a\.tar is a link to what .*\(/nowhere",
        ),
        (member("b.png", tarfile.LNKTYPE, "gone.png"), r"b\.png in a\.tar is a link to what .*\(gone\.png\)"),
        (member("b.png", tarfile.SYMTYPE, "b.png"), r"b\.png in a\.tar is a link to what"),
        (member("more", tarfile.SYMTYPE, "set"), r"more in a\.tar is a link to a folder \(set\)"),
    ],
    ids=["symbolic", "hard", "itself", "folder"],
)
def test_a_link_out_of_the_tar_is_said_at_once(odd: tarfile.TarInfo, said: str, tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar", member("set/a.png", size=3), odd)
    with pytest.raises(InputError, match=said):
        filesets.open_files(path)


def test_a_link_that_is_no_image_and_leads_nowhere_is_counted(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar", member("set/a.png", size=3), member("latest", tarfile.SYMTYPE, "/srv/latest"))
    assert filesets.open_files(path).images == ("set/a.png",)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_device_is_named_when_it_is_read(kind: bytes, tmp_path: Path) -> None:
    files = filesets.open_files(packed(tmp_path / "a.tar", member("a.png", kind)))
    with pytest.raises(InputError, match=r"a\.png in a\.tar is a pipe or a device"):
        files.read("a.png")


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:900],
        lambda whole: whole[:1536] + b"no header" * 60 + whole[2076:],
        lambda whole: gzip.compress(whole)[:-20],
        lambda whole: gzip.compress(b"no tar at all" * 99),
        lambda whole: b"BZh" + bytes(90),
        lambda whole: b"\xfd7zXZ\0" + bytes(90),
    ],
    ids=["cut", "in the middle", "gzip cut", "gzip of no tar", "bzip2", "xz"],
)
def test_damage_is_a_sentence_and_never_a_smaller_set(damage: object, tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar", *(member(f"{i}.png", size=700) for i in range(4)), form=tarfile.USTAR_FORMAT)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(InputError, match=r"The archive a\.tar is damaged"):
        filesets.open_files(path)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"\x28\xb5\x2f\xfd", "Zstandard"), (b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07", "rar"),
        (b"\x04\x22\x4d\x18", "LZ4"), (b"LZIP", "lzip"), (b"\x1f\x9d", "compress"),
    ],
)  # fmt: skip
def test_packings_that_are_not_read_are_named(head: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "set").write_bytes(head + bytes(600))
    with pytest.raises(InputError, match=f"set is packed with {said}, which is not read here"):
        filesets.open_files(tmp_path / "set")


def test_a_tar_whose_last_member_is_a_zip_is_a_tar(tmp_path: Path) -> None:
    """A zip is known by its end, too, which here stands near the end of the tar."""
    import zipfile

    with zipfile.ZipFile(tmp_path / "labels.zip", "w") as inner:
        inner.writestr("labels.csv", "a")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(member("a.png", size=2), io.BytesIO(b"xy"))
        archive.add(tmp_path / "labels.zip", "labels.zip")
    assert filesets.open_files(tmp_path / "a.tar").names == ("a.png", "labels.zip")


def test_no_room_to_unpack_is_said_with_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tgz").write_bytes(gzip.compress(packed(tmp_path / "a.tar", member("a.png", size=9)).read_bytes()))

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(InputError, match=rf"cannot be unpacked into {tempfile.gettempdir()}: No space.* TMPDIR"):
        open_tar(tmp_path / "a.tgz", "gzip")


def test_an_image_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.filesets.members.MAX_IMAGE_BYTES", 10)
    files = filesets.open_files(packed(tmp_path / "a.tar", member("a.png", size=11)))
    with pytest.raises(LimitError, match=r"a\.png unpacks to 11 bytes"):
        files.read("a.png")


def test_a_span_closes_its_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abcdef")
    file = open(tmp_path / "x", "rb")  # noqa: SIM115
    span = Span(file)
    assert span.read(2, 3) == b"cde"
    del span
    assert file.closed

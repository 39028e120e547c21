"""Archives: images come out in order; bombs, links, paths, passwords and nesting are refused with a sentence."""

import bz2
import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable

import pytest

from models.errors import InputError, LimitError
from service.scoring.archives import Limits, check_zip_entries, open_archive

SMALL = Limits(files=5, expanded_bytes=1_000_000)
PNG = b"\x89PNG\r\n\x1a\n and more"


def make_zip(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def make_tar(members: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def make_gz(members: dict[str, bytes]) -> bytes:
    return make_tar(members, "w:gz")


def make_bz2(members: dict[str, bytes]) -> bytes:
    return make_tar(members, "w:bz2")


MAKERS = [make_zip, make_tar, make_gz, make_bz2]
Maker = Callable[[dict[str, bytes]], bytes]


def names(archive: bytes, limits: Limits = SMALL) -> list[str]:
    """The images' names, each of them read on the way."""
    return [name for name, _ in images(archive, limits)]


def images(archive: bytes, limits: Limits = SMALL) -> list[tuple[str, bytes]]:
    found = open_archive(archive, limits, "real")
    return [(name, found.read(name)) for name in found.images]


@pytest.mark.parametrize("make", MAKERS)
def test_images_come_out_sorted_and_the_rest_is_counted(make: Maker) -> None:
    archive = make({
        "set/b.PNG": b"1", "set/a.jfif": b"2", "labels.csv": b"x", "bare": PNG, "__MACOSX/set/._a.jpg": b"x",
        ".hidden.png": b"x", "set/.thumbnails/a.jpg": b"x", "./c.png": b"3", "old\\d.png": b"4", "new.svg": b"x",
    })  # fmt: skip
    assert images(archive) == [
        ("bare", PNG), ("c.png", b"3"), ("old/d.png", b"4"), ("set/a.jfif", b"2"), ("set/b.PNG", b"1")
    ]  # fmt: skip
    assert open_archive(archive, SMALL, "real").skipped == {".csv": 1, ".svg": 1}


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", ["../a.png", "a/../../b.png", "/etc/a.png", "..\\a.png", "C:\\a.png", "C:a.png"])
def test_paths_out_of_the_archive_are_refused(make: Maker, name: str) -> None:
    with pytest.raises(InputError, match="points outside the archive"):
        names(make({"ok.png": b"x", name: b"x"}))


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", ["more.zip", "more.tar.gz", "more.TAR", "more.7z"])
def test_nested_archives_are_refused(make: Maker, name: str) -> None:
    with pytest.raises(InputError, match="archive inside the archive"):
        names(make({"ok.png": b"x", name: make_zip({"a.png": b"x"})}))


@pytest.mark.parametrize("make", MAKERS)
def test_too_many_images_are_refused(make: Maker) -> None:
    assert len(names(make({f"{i}.png": b"x" for i in range(5)}))) == 5
    with pytest.raises(LimitError, match="more than 5 images"):
        names(make({f"{i}.png": b"x" for i in range(6)}))


@pytest.mark.parametrize("make", MAKERS)
def test_too_many_members_of_any_kind_are_refused(make: Maker) -> None:
    limits = Limits(files=5, others=3)
    assert names(make({f"{i}.txt": b"" for i in range(8)}), limits) == []
    with pytest.raises(LimitError, match="too many members"):
        names(make({f"{i}.txt": b"" for i in range(9)}), limits)


@pytest.mark.parametrize("make", MAKERS)
def test_expanding_past_the_limit_is_refused(make: Maker) -> None:
    with pytest.raises(LimitError, match="unpacks to more than 1 MiB"):
        names(make({"a.png": bytes(600_000), "b.png": bytes(600_000)}))
    with pytest.raises(LimitError, match="unpacks to more than 1 MiB"):
        names(make({"labels.csv": bytes(1_200_000)}))


@pytest.mark.parametrize("make", [make_zip, make_gz, make_bz2])
def test_a_bomb_s_ratio_is_refused(make: Maker) -> None:
    with pytest.raises(LimitError, match="as archive bombs do"):
        names(make({"a.bmp": bytes(17 * 2**20)}), Limits())


def test_a_zip_that_lies_about_its_size_is_stopped_by_what_it_expands_to() -> None:
    honest = make_zip({"a.bmp": bytes(900_000)})
    lying = honest.replace((900_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lying != honest
    with pytest.raises(InputError, match="damaged"):  # ten bytes come out, and their checksum is wrong
        names(lying)


def test_zip_entries_that_share_their_bytes_count_each_time() -> None:
    packed = bytearray(make_zip({f"{i}.bmp": bytes(300_000) for i in range(5)}))
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        first = archive.infolist()[0]
    with pytest.raises(LimitError):
        names(bytes(packed), Limits(files=5, expanded_bytes=first.file_size * 4))


def test_a_pax_header_bomb_is_stopped_while_it_unpacks() -> None:
    info = tarfile.TarInfo("a.png")
    info.pax_headers = {"comment": "x" * 30_000_000}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info)
    with pytest.raises(LimitError):
        names(gzip.compress(buffer.getvalue()))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_tars_are_refused(kind: bytes) -> None:
    info = tarfile.TarInfo("a.png")
    info.type, info.linkname = kind, "/etc/passwd"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(info)
    with pytest.raises(InputError, match="is a link"):
        names(buffer.getvalue())


def test_sparse_members_are_refused() -> None:
    info = tarfile.TarInfo("a.png")
    info.type = tarfile.GNUTYPE_SPARSE
    with pytest.raises(InputError, match=r"sparse|damaged"):
        names(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


def test_links_in_zips_are_refused() -> None:
    info = zipfile.ZipInfo("a.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="is a link"):
        names(buffer.getvalue())


def test_encrypted_members_are_refused() -> None:
    packed = bytearray(make_zip({"a.png": b"x"}))
    packed[6] |= 1  # the flag in the member's header, and in the directory's
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InputError, match="is encrypted: pack it without a password"):
        names(bytes(packed))


@pytest.mark.parametrize(("method", "said"), [(14, "LZMA"), (9, "deflate64"), (93, "Zstandard"), (77, "method 77")])
def test_packings_that_are_not_read_are_named(method: int, said: str) -> None:
    packed = bytearray(make_zip({"a.png": b"x"}))
    packed[8] = packed[packed.index(b"PK\x01\x02") + 10] = method
    with pytest.raises(InputError, match=f"'a.png' is packed with .*{said}.*: pack it with deflate"):
        names(bytes(packed))


@pytest.mark.parametrize(
    ("head", "said"), [(b"\xfd7zXZ\0", "xz"), (b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07", "rar")]
)
def test_archives_of_other_kinds_are_named(head: bytes, said: str) -> None:
    with pytest.raises(InputError, match=f"real is packed with {said}: send a zip, or a tar"):
        names(head + bytes(600))


def test_entries_are_counted_before_an_object_is_made_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_arguments: pytest.fail("the zip was opened"))
    with pytest.raises(LimitError, match="too many members"):
        check_zip_entries(b"PK\x03\x04" + 1006 * (b"PK\x01\x02" + bytes(42)), SMALL, "real")
    with pytest.raises(LimitError, match="too many members"):
        open_archive(b"PK\x03\x04" + 1006 * (b"PK\x01\x02" + bytes(42)), SMALL, "real")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_header_that_claims_all_memory_is_not_read(kind: bytes) -> None:
    info = tarfile.TarInfo("a.png")
    info.type, info.size = kind, 8**11 - 1
    with pytest.raises(LimitError, match="longer headers"):
        names(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


def test_names_that_are_not_utf_8_stay_apart() -> None:
    archive = make_tar({f"x{chr(0xDC00 + byte)}.png": bytes([byte]) for byte in (0xFF, 0xFE)})
    assert [data for _, data in images(archive)] == [b"\xfe", b"\xff"]


def test_a_tar_damaged_on_the_way_is_no_smaller_set() -> None:
    archive = bytearray(make_tar({f"{i}.png": b"x" for i in range(4)}))
    archive[2048:2100] = b"x" * 52
    with pytest.raises(InputError, match="real is a damaged archive"):
        names(bytes(archive))


@pytest.mark.parametrize(
    "data",
    [
        make_zip({"a.png": b"x" * 500}, zipfile.ZIP_STORED)[:-40],
        b"PK\x03\x04" + bytes(100),
        make_tar({"a.png": b"x" * 2000})[:1200],
        make_gz({"a.png": bytes(range(256)) * 20})[:-30],
        bz2.compress(b"not a tar"),
        gzip.compress(b"not a tar" * 200, mtime=0),
        b"\x1f\x8b" + bytes(50),
        make_zip({"a.png": b"y" * 500}, zipfile.ZIP_STORED).replace(b"yyy", b"zzz"),
    ],
    ids=["short-zip", "no-zip", "short-tar", "short-gz", "bz2-no-tar", "gz-no-tar", "no-gz", "wrong-checksum"],
)
def test_damaged_archives_are_the_sender_s_fault(data: bytes) -> None:
    with pytest.raises(InputError, match="real is a damaged archive"):
        names(data)

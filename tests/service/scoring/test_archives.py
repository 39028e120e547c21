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
from service.scoring.archives import Limits, images, kind_of, names

SMALL = Limits(files=5, expanded_bytes=1_000_000)


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


@pytest.mark.parametrize("make", MAKERS)
def test_images_come_out_and_the_rest_is_passed_over(make: Maker) -> None:
    archive = make({
        "set/b.PNG": b"1", "set/a.jpg": b"2", "labels.csv": b"x", "__MACOSX/set/._a.jpg": b"x", ".hidden.png": b"x"
    })  # fmt: skip
    assert list(images(archive, SMALL, "real")) == [("set/b.PNG", b"1"), ("set/a.jpg", b"2")]
    assert names(archive, SMALL, "real") == ["set/b.PNG", "set/a.jpg"]


def test_the_kind_is_told_by_content() -> None:
    assert [kind_of(make({"a.png": b"x"})) for make in MAKERS] == ["zip", "tar", "tar.gz", "tar.bz2"]
    assert kind_of(b"\x89PNG\r\n\x1a\n") is None
    assert kind_of(b"") is None


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", ["../a.png", "a/../../b.png", "/etc/a.png", "..\\a.png", "C:\\a.png", "C:a.png"])
def test_paths_out_of_the_archive_are_refused(make: Maker, name: str) -> None:
    with pytest.raises(InputError, match="points outside the archive"):
        names(make({"ok.png": b"x", name: b"x"}), SMALL, "real")


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", ["more.zip", "more.tar.gz", "more.TAR", "more.7z"])
def test_nested_archives_are_refused(make: Maker, name: str) -> None:
    with pytest.raises(InputError, match="archive inside the archive"):
        names(make({"ok.png": b"x", name: make_zip({"a.png": b"x"})}), SMALL, "real")


@pytest.mark.parametrize("make", MAKERS)
def test_too_many_images_are_refused(make: Maker) -> None:
    assert len(names(make({f"{i}.png": b"x" for i in range(5)}), SMALL, "real")) == 5
    with pytest.raises(LimitError, match="more than 5 images"):
        names(make({f"{i}.png": b"x" for i in range(6)}), SMALL, "real")


@pytest.mark.parametrize("make", MAKERS)
def test_too_many_members_of_any_kind_are_refused(make: Maker) -> None:
    limits = Limits(files=5, others=3)
    assert names(make({f"{i}.txt": b"" for i in range(8)}), limits, "real") == []
    with pytest.raises(LimitError, match="too many members"):
        names(make({f"{i}.txt": b"" for i in range(9)}), limits, "real")


@pytest.mark.parametrize("make", MAKERS)
def test_expanding_past_the_limit_is_refused(make: Maker) -> None:
    with pytest.raises(LimitError, match="unpacks to more than 1 MiB"):
        names(make({"a.png": bytes(600_000), "b.png": bytes(600_000)}), SMALL, "real")
    with pytest.raises(LimitError, match="unpacks to more than 1 MiB"):
        names(make({"labels.csv": bytes(1_200_000)}), SMALL, "real")


@pytest.mark.parametrize("make", [make_zip, make_gz, make_bz2])
def test_a_bomb_s_ratio_is_refused(make: Maker) -> None:
    with pytest.raises(LimitError, match="as archive bombs do"):
        names(make({"a.bmp": bytes(17 * 2**20)}), Limits(), "real")


def test_a_zip_that_lies_about_its_size_is_stopped_by_what_it_expands_to() -> None:
    honest = make_zip({"a.bmp": bytes(900_000)})
    lying = honest.replace((900_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lying != honest
    with pytest.raises(InputError, match="damaged"):  # ten bytes come out, and their checksum is wrong
        names(lying, SMALL, "real")


def test_zip_entries_that_share_their_bytes_count_each_time() -> None:
    packed = bytearray(make_zip({f"{i}.bmp": bytes(300_000) for i in range(5)}))
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        first = archive.infolist()[0]
    with pytest.raises(LimitError):
        names(bytes(packed), Limits(files=5, expanded_bytes=first.file_size * 4), "real")


def test_a_pax_header_bomb_is_stopped_while_it_unpacks() -> None:
    info = tarfile.TarInfo("a.png")
    info.pax_headers = {"comment": "x" * 30_000_000}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info)
    with pytest.raises(LimitError):
        names(gzip.compress(buffer.getvalue()), SMALL, "real")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_tars_are_refused(kind: bytes) -> None:
    info = tarfile.TarInfo("a.png")
    info.type, info.linkname = kind, "/etc/passwd"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(info)
    with pytest.raises(InputError, match="is a link"):
        names(buffer.getvalue(), SMALL, "real")


def test_sparse_members_are_refused() -> None:
    info = tarfile.TarInfo("a.png")
    info.type = tarfile.GNUTYPE_SPARSE
    with pytest.raises(InputError, match=r"sparse|damaged"):
        names(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024), SMALL, "real")


def test_links_in_zips_are_refused() -> None:
    info = zipfile.ZipInfo("a.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="is a link"):
        names(buffer.getvalue(), SMALL, "real")


def test_encrypted_members_are_refused() -> None:
    packed = bytearray(make_zip({"a.png": b"x"}))
    packed[6] |= 1  # the flag in the member's header, and in the directory's
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InputError, match="is encrypted; send the archive without a password"):
        names(bytes(packed), SMALL, "real")


def test_lzma_is_refused() -> None:
    with pytest.raises(InputError, match="other than deflate"):
        names(make_zip({"a.png": b"x"}, zipfile.ZIP_LZMA), SMALL, "real")


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
        names(data, SMALL, "real")

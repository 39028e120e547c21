"""Stores, the same contract for each: bytes back, whole or not at all, one of many who create, nothing outside."""

import asyncio
import os
import tempfile
import time
from pathlib import Path

import pytest
import requests
from obstore.store import MemoryStore

from models.errors import ConflictError, InputError, NotFoundError, OverloadError
from service.storage import FolderStore, ObjectStore, Store, check_name, check_store, open_store

HOSTILE = [
    "", ".", "..", "../x", "a/b", "a/../b", "/etc/passwd", "a\\b", "..\\x", "C:\\x", "a\0b", "a\nb", "a\n", " a", "a ",
    ".hidden", "a.", "-a", "a" * 65, "ä", "a./../../x", "%2e%2e", "~", "$HOME", "a;b", "con:", "a.\u202etxt",
]  # fmt: skip
KINDS = ("folder", "memory", "s3")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(str(tmp_path / "store"))
    if request.param == "memory":
        return ObjectStore(MemoryStore())
    return open_store(f"{request.getfixturevalue('bucket')}/{tmp_path.name}")


def test_bytes_come_back(store: Store) -> None:
    async def main() -> None:
        await check_store(store, "the store")
        before = time.time()
        await store.put("references", "horses.npz", b"one")
        await store.put("references", "horses.npz", b"two")
        await store.put("references", "cats.npz", bytes(7_000_000))  # as a multipart upload, in a bucket
        assert await store.get("references", "horses.npz") == b"two"
        assert await store.get("references", "cats.npz") == bytes(7_000_000)
        names = await store.names("references")
        assert list(names) == ["cats.npz", "horses.npz"]
        assert all(before - 2 < written < time.time() + 2 for written in names.values())
        assert await store.names("jobs") == {}
        await store.delete("references", "horses.npz")
        assert list(await store.names("references")) == ["cats.npz"]
        assert await store.names("probe") == {}

    asyncio.run(main())


def test_what_is_not_there_is_not_found(store: Store) -> None:
    async def main() -> None:
        assert await store.names("jobs") == {}
        with pytest.raises(NotFoundError):
            await store.get("jobs", "a.json")

    asyncio.run(main())


def test_of_many_that_create_one_name_one_succeeds(store: Store) -> None:
    async def main() -> None:
        async def create(data: bytes) -> bytes | None:
            try:
                await store.create("jobs", "a.request", data)
            except ConflictError:
                return None
            return data

        winners = [data for data in await asyncio.gather(*(create(bytes([i])) for i in range(20))) if data is not None]
        assert [await store.get("jobs", "a.request")] == winners
        assert list(await store.names("jobs")) == ["a.request"]

    asyncio.run(main())


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused_and_touch_nothing(tmp_path: Path, name: str) -> None:
    async def main() -> None:
        before = set(tmp_path.rglob("*"))
        with pytest.raises(InputError, match="is not a name"):
            check_name(name)
        for store in (FolderStore(tmp_path / "store"), ObjectStore(MemoryStore())):
            for key in (f"{name}/x", f"../{name}", f"a.{name}/x") if name else ("",):
                calls = (store.put("jobs", key, b"x"), store.create("jobs", key, b"x"), store.get("jobs", key))
                for call in (*calls, store.delete("jobs", key), store.place("jobs", key)):
                    with pytest.raises(InputError):
                        await call
            with pytest.raises(InputError):
                await store.put("../jobs", "a.json", b"x")
        assert set(tmp_path.rglob("*")) == before

    asyncio.run(main())


@pytest.mark.parametrize("name", ["a", "A1", "cifar10-train_v1.2", "a" * 64, "a..b"])
def test_ordinary_names_pass(store: Store, name: str) -> None:
    async def main() -> None:
        await store.put("jobs", f"{check_name(name)}.json", b"x")
        assert list(await store.names("jobs")) == [f"{name}.json"]

    asyncio.run(main())


def test_a_failed_write_leaves_the_old_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    async def main() -> None:
        store = FolderStore(tmp_path)
        await store.put("jobs", "a.json", b"old")
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", full)
            for write in (store.put, store.create):
                with pytest.raises(OverloadError, match="No space left"):
                    await write("jobs", "a.json", b"new")
        assert await store.get("jobs", "a.json") == b"old"
        assert [path.name for path in (tmp_path / "jobs").iterdir()] == ["a.json"]

    asyncio.run(main())


def test_a_list_leaves_out_what_is_no_name_and_clears_what_a_killed_writer_left(tmp_path: Path) -> None:
    async def main() -> None:
        store = FolderStore(tmp_path)
        await store.put("jobs", "a.json", b"x")
        folder = tmp_path / "jobs"
        (folder / "\udcff").write_bytes(b"a name that is not UTF-8")
        (folder / "b.json").mkdir()
        (folder / "c.json").symlink_to("/nowhere")
        fresh, old = folder / ".a.json.fresh.tmp", folder / ".a.json.old.tmp"
        for path in (fresh, old):
            path.write_bytes(b"half")
        os.utime(old, (0, 0))
        assert list(await store.names("jobs")) == ["a.json"]
        assert fresh.exists()
        assert not old.exists()

    asyncio.run(main())


def test_a_file_is_kept_piece_by_piece_and_read_where_the_store_says(store: Store) -> None:
    data = bytes(range(251)) * 50_000  # several parts of an upload

    async def main() -> None:
        with tempfile.TemporaryFile() as file:
            file.write(data)
            for _ in range(2):  # after a failure it is sent again, from its beginning
                await store.put("jobs", "a.body", file, "application/zip")
        place = await store.place("jobs", "a.body")
        if isinstance(place, Path):
            assert place.read_bytes() == data
        elif isinstance(place, str):
            part = await asyncio.to_thread(requests.get, place, headers={"Range": "bytes=7-9"}, timeout=60)
            assert (part.status_code, part.content) == (206, data[7:10])
            assert part.headers["Content-Type"] == "application/zip"
        else:
            assert b"".join([piece async for piece in place]) == data

    asyncio.run(main())


def test_where_nobody_is_to_be_sent_to_the_bucket_its_bytes_pass_through(bucket: str, tmp_path: Path) -> None:
    async def main() -> None:
        store = open_store(f"{bucket}/{tmp_path.name}", links=False)
        await store.put("jobs", "a.body", bytes(3_000_000))
        place = await store.place("jobs", "a.body")
        assert not isinstance(place, str | Path)
        pieces = [piece async for piece in place]
        assert b"".join(pieces) == bytes(3_000_000)
        assert len(pieces) > 1
        with pytest.raises(NotFoundError):
            await store.place("jobs", "b.body")

    asyncio.run(main())


def test_a_store_in_which_two_create_one_name_is_refused() -> None:
    class Careless(ObjectStore):
        async def create(self, section: str, name: str, data: bytes) -> None:
            await self.put(section, name, data)

    with pytest.raises(ValueError, match=r"GAN_STORE: s3://bucket/x lets a name be created twice"):
        asyncio.run(check_store(Careless(MemoryStore()), "s3://user:secret@bucket/x"))


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("ftp://user:secret@host/x", "GAN_STORE is a folder or begins with s3://, gs://, az://"),
        ("S3:/bucket/x", "GAN_STORE is a folder or begins with s3://, gs://, az://"),
        ("az://container/x", "az://container/x cannot be opened: .*Account must be specified"),
        ("az://key:secret@container/x", "az://container/x cannot be opened"),
        ("s3://user:secret@nobody-made-this/x", "there is no s3://nobody-made-this/x"),
        ("/dev/null/store", "GAN_STORE: The service's store cannot be used: Not a directory"),
    ],
)
def test_a_store_that_cannot_be_used_is_a_sentence_without_its_password(bucket: str, where: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as refused:
        asyncio.run(check_store(open_store(where), where))
    assert "secret" not in str(refused.value)


def test_a_bucket_that_does_not_answer_is_said_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ENDPOINT": "http://127.0.0.1:9", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    store = open_store("s3://bucket")
    with pytest.raises(OverloadError, match="s3://bucket does not answer as it should"):
        asyncio.run(store.get("jobs", "a.json"))

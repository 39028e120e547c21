"""The store: bytes back, whole or not at all, and nothing outside its folder."""

from pathlib import Path

import pytest

from models.errors import InputError, NotFoundError, OverloadError
from service.storage import FolderStore, check_name

HOSTILE = [
    "", ".", "..", "../x", "a/b", "a/../b", "/etc/passwd", "a\\b", "..\\x", "C:\\x", "a\0b", "a\nb", "a\n", " a", "a ",
    ".hidden", "a.", "-a", "a" * 65, "ä", "a./../../x", "%2e%2e", "~", "$HOME", "a;b", "con:", "a.\u202etxt",
]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def test_bytes_come_back_after_a_restart(store: FolderStore, tmp_path: Path) -> None:
    store.put("references", "horses.npz", b"one")
    store.put("references", "horses.npz", b"two")
    again = FolderStore(tmp_path / "store")
    assert again.get("references", "horses.npz") == b"two"
    assert again.names("references") == ["horses.npz"]
    again.delete("references", "horses.npz")
    assert again.names("references") == []


def test_what_is_not_there_is_not_found(store: FolderStore) -> None:
    assert store.names("jobs") == []
    with pytest.raises(NotFoundError):
        store.get("jobs", "a.json")
    with pytest.raises(NotFoundError):
        store.delete("jobs", "a.json")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused_and_touch_nothing(store: FolderStore, tmp_path: Path, name: str) -> None:
    before = set(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="is not a name"):
        check_name(name)
    for key in (f"{name}/x", f"../{name}", f"a.{name}/x") if name else ("",):
        for call in (lambda key=key: store.put("jobs", key, b"x"), lambda key=key: store.get("jobs", key)):
            with pytest.raises(InputError):
                call()
    with pytest.raises(InputError):
        store.put("../jobs", "a.json", b"x")
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["a", "A1", "cifar10-train_v1.2", "a" * 64, "a..b"])
def test_ordinary_names_pass(store: FolderStore, name: str) -> None:
    store.put("jobs", f"{check_name(name)}.json", b"x")
    assert store.names("jobs") == [f"{name}.json"]


def test_a_failed_write_leaves_the_old_bytes(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("jobs", "a.json", b"old")

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OverloadError, match="No space left"):
        store.put("jobs", "a.json", b"new")
    monkeypatch.undo()
    assert store.get("jobs", "a.json") == b"old"
    assert store.names("jobs") == ["a.json"]

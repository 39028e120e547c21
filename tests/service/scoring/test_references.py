"""Named references in a store: what one record is like does not matter to the others."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from metrics import FeatureSet, Statistics
from models.errors import ConflictError, NotFoundError
from service.scoring.references import References
from service.storage import FolderStore

KEPT = FeatureSet("some", Statistics(np.zeros(4), np.eye(4), n=20, protocol="pytorch-fid", extractor="test"))


class Store(FolderStore):
    """Deletes `gone` as soon as names have been listed, as another client may."""

    gone = ""

    async def names(self, section: str) -> dict[str, float]:
        names = await super().names(section)
        if self.gone:
            await self.delete(section, self.gone)
            self.gone = ""
        return names


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 100))  # type: ignore[arg-type]


def test_a_list_is_without_what_was_deleted_meanwhile(tmp_path: Path) -> None:
    async def test() -> None:
        store = Store(tmp_path)
        references = References(store, most=9)
        for name in ("first", "second", "third"):
            await references.add(name, KEPT, "a test")
        store.gone = "second.json"
        assert [one.name for one in await references.all()] == ["first", "third"]

    run(test)


@pytest.mark.parametrize(
    "damage",
    [b"", b"\xff", b"[]", b"{}", b'{"name": "second"}', b"[" * 100_000, json.dumps({"name": 1}).encode()],
    ids=["empty", "no text", "a list", "no field", "few fields", "deep", "another type"],
)
def test_a_damaged_record_is_skipped_said_and_replaced(tmp_path: Path, damage: bytes) -> None:
    async def test() -> None:
        references = References(FolderStore(tmp_path), most=9)
        for name in ("first", "second"):
            await references.add(name, KEPT, "a test")
        (tmp_path / "references" / "second.json").write_bytes(damage)
        assert [one.name for one in await references.all()] == ["first"]
        with pytest.raises(NotFoundError, match="second is damaged; keep the set again"):
            await references.get("second")
        await references.add("second", KEPT, "another test")
        assert [one.name for one in await references.all()] == ["first", "second"]
        with pytest.raises(ConflictError, match="already"):
            await references.add("second", KEPT, "a third")

    run(test)


def test_what_is_no_file_is_no_record(tmp_path: Path) -> None:
    async def test() -> None:
        references = References(FolderStore(tmp_path), most=9)
        await references.add("first", KEPT, "a test")
        (tmp_path / "references" / "folder.json").mkdir()
        os.mkfifo(tmp_path / "references" / "fifo.json")  # reading it would wait for a writer
        assert [one.name for one in await references.all()] == ["first"]

    run(test)

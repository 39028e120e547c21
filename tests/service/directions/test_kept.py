"""Directions in the store."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.errors import ConflictError, InputError, LimitError, NotFoundError, OverloadError
from service.directions.kept import Directions, KeptDirection
from service.storage import FolderStore

SMILE = KeptDirection("smile", "tiny@1", "d1", "z", "means", 3, 4, 0.9, 1.5e9, [0.5, -1.0])


def test_kept_listed_and_removed(tmp_path: Path) -> None:
    async def main() -> None:
        directions = Directions(FolderStore(tmp_path), 2)
        await directions.add(SMILE)
        await directions.add(replace(SMILE, name="age", digest="d2"))
        again = Directions(FolderStore(tmp_path), 2)
        assert await again.get("smile") == SMILE
        assert torch.equal(SMILE.tensor(), torch.tensor([0.5, -1.0]))
        assert [one.name for one in await again.all()] == ["age", "smile"]
        assert await again.by_digest() == {"d1": [SMILE], "d2": [replace(SMILE, name="age", digest="d2")]}
        with pytest.raises(ConflictError, match="already"):
            await again.add(SMILE)
        with pytest.raises(LimitError, match="2 directions"):
            await again.add(replace(SMILE, name="third"))
        assert await again.delete("smile") == SMILE
        with pytest.raises(NotFoundError, match="there are: age"):
            await again.get("smile")
        with pytest.raises(InputError):
            await again.get("../age")

    asyncio.run(main())


def test_a_damaged_record_is_no_direction_and_is_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        directions = Directions(FolderStore(tmp_path), 9)
        await directions.add(SMILE)
        record = tmp_path / "directions" / "smile.json"
        for text in ('{"name": "smi', record.read_text().replace("0.5", "NaN"), "[]"):
            record.write_text(text)
            assert await directions.all() == []
            with pytest.raises(NotFoundError, match="damaged"):
                await directions.get("smile")
        await directions.add(SMILE)
        assert await directions.get("smile") == SMILE

    asyncio.run(main())


def test_of_two_that_add_one_name_at_an_instant_the_first_has_it(tmp_path: Path) -> None:
    first = Directions(FolderStore(tmp_path), 9)

    class Raced(FolderStore):
        async def names(self, section: str) -> dict[str, float]:
            found = await super().names(section)
            if not found:  # the name was looked at, and is free: now the other replica is quicker
                await first.add(SMILE)
            return found

    async def main() -> None:
        with pytest.raises(ConflictError, match="already"):
            await Directions(Raced(tmp_path), 9).add(replace(SMILE, n_a=7))
        assert await first.get("smile") == SMILE

    asyncio.run(main())


def test_a_list_reads_what_is_new_alone(tmp_path: Path) -> None:
    read: list[str] = []

    class Counting(FolderStore):
        async def get(self, section: str, name: str) -> bytes:
            read.append(name)
            return await super().get(section, name)

    async def main() -> None:
        directions = Directions(Counting(tmp_path), 9)
        await Directions(FolderStore(tmp_path), 9).add(SMILE)
        assert await directions.all() == await directions.all() == [SMILE]
        assert read == ["smile.json"]
        other = Directions(FolderStore(tmp_path), 9)
        await other.delete("smile")
        assert await directions.all() == []
        await other.add(replace(SMILE, n_a=7))
        assert [one.n_a for one in await directions.all()] == [7]

    asyncio.run(main())


def test_a_store_that_is_gone_leaves_the_list_of_models_without_them(tmp_path: Path) -> None:
    class Gone(FolderStore):
        async def names(self, section: str) -> dict[str, float]:
            raise OverloadError("The store is away.", retry_after_s=1)

    assert asyncio.run(Directions(Gone(tmp_path), 9).by_digest()) == {}

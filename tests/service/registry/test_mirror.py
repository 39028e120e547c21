"""Models from a bucket: copied whole, checked, gone when they are gone, and kept while nobody can be asked."""

import asyncio
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import pytest
import requests

from service.registry.mirror import Mirror
from service.storage import open_bucket
from tests.service.servers import s3_server


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_the_folder_becomes_as_the_bucket_is(
    kind: str, tmp_path: Path, checkpoints: Path, request: pytest.FixtureRequest
) -> None:
    async def main() -> None:
        if kind == "folder":
            (tmp_path / "bucket").mkdir()
            where, store = str(tmp_path / "bucket"), obstore.store.LocalStore(tmp_path / "bucket")
        else:
            where = f"{request.getfixturevalue('bucket')}/{tmp_path.name}"
            store = open_bucket(where, "x")[0]
        data = (checkpoints / "tiny.safetensors").read_bytes()
        for name in ("cats@1.safetensors", "cats@2.safetensors", "aliases.json", "notes.txt", "deep/x.safetensors"):
            await obstore.put_async(store, name, data)
        digest = hashlib.sha256(data).hexdigest()
        await obstore.put_async(store, "cats@1.safetensors.sha256", f"{digest}  cats@1.safetensors\n".encode())
        await obstore.put_async(store, "cats@2.safetensors.sha256", b"0" * 64)
        mirror = Mirror(where, tmp_path / "cache", 30)
        await mirror.check()
        await mirror.update()
        assert names(tmp_path / "cache") == ["aliases.json", "cats@1.safetensors"]  # the other is not what it says
        assert (tmp_path / "cache" / "cats@1.safetensors").read_bytes() == data
        before = (tmp_path / "cache" / "cats@1.safetensors").stat()
        await obstore.delete_async(store, "cats@2.safetensors.sha256")
        await obstore.delete_async(store, "aliases.json")
        await Mirror(where, tmp_path / "cache", 30).update()  # another process
        assert names(tmp_path / "cache") == ["cats@1.safetensors", "cats@2.safetensors"]
        assert (tmp_path / "cache" / "cats@1.safetensors").stat() == before  # not copied once more
        (tmp_path / "cache" / "cats@1.safetensors").write_bytes(b"damaged")
        await Mirror(where, tmp_path / "cache", 30).update()
        assert (tmp_path / "cache" / "cats@1.safetensors").read_bytes() == data

    asyncio.run(main())


def test_the_service_serves_what_the_bucket_has(
    serve: Callable[..., Any], save_sampler: Callable[..., Path], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    there = tmp_path / "there"
    for folder in (there, tmp_path / "none"):
        folder.mkdir()
    save_sampler(there / "cats.safetensors", seed=1)
    settings = {
        "models": (tmp_path / "none",),
        "model_bucket": str(there),
        "model_cache": tmp_path / "cache",
        "model_bucket_s": 1,
        "reload_s": 0.1,
    }
    url = serve(**settings).url

    def served() -> list[str]:
        return [one["id"].partition("@")[0] for one in requests.get(f"{url}/v1/models", timeout=60).json()["models"]]

    assert served() == ["cats"]
    save_sampler(there / "dogs.safetensors", seed=2)
    wait_until(lambda: served() == ["cats", "dogs"], "the new model")
    (there / "cats.safetensors").unlink()
    wait_until(lambda: served() == ["dogs"], "the end of the other")


def test_a_bucket_that_is_gone_takes_nothing_along(tmp_path: Path, checkpoints: Path) -> None:
    async def main() -> None:
        there = tmp_path / "there"
        shutil.copytree(checkpoints, there)
        mirror = Mirror(str(there), tmp_path / "cache", 30)
        await mirror.update()
        copied = names(tmp_path / "cache")
        assert "tiny.safetensors" in copied
        there.rename(tmp_path / "gone")
        await mirror.update()
        assert names(tmp_path / "cache") == copied

    asyncio.run(main())


def test_a_bucket_that_does_not_answer_keeps_nobody_with_copies_from_starting(
    tmp_path: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        with s3_server() as (url, environment):
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            store = open_bucket(url, "x")[0]
            await obstore.put_async(store, "cats.safetensors", (checkpoints / "tiny.safetensors").read_bytes())
            await Mirror(url, tmp_path / "cache", 30).update()
        later = Mirror(url, tmp_path / "cache", 30)
        await later.check()
        await later.update()
        assert names(tmp_path / "cache") == ["cats.safetensors"]
        with pytest.raises(ValueError, match="cannot be read"):
            await Mirror(url, tmp_path / "empty", 30).check()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("/nowhere/models", "GAN_MODEL_BUCKET: there is no folder /nowhere/models"),
        ("ftp://user:secret@host/x", "GAN_MODEL_BUCKET is a folder or begins with s3://, gs://, az://"),
        ("s3://user:secret@nobody-made-this/x", "GAN_MODEL_BUCKET: s3://nobody-made-this/x cannot be read"),
    ],
)
def test_a_bucket_that_cannot_be_read_is_a_sentence_without_its_password(
    bucket: str, tmp_path: Path, where: str, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence) as refused:
        asyncio.run(Mirror(where, tmp_path / "cache", 30).check())
    assert "secret" not in str(refused.value)

"""GET /v1/models, and reloading over HTTP."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests


def test_the_catalogue_of_the_real_service(server: str) -> None:
    catalogue = requests.get(f"{server}/v1/models", timeout=300).json()
    assert catalogue["ready"] is True
    assert catalogue["precision"] == "float32"
    assert catalogue["refused"] == []
    cards = {card["name"]: card for card in catalogue["models"]}
    assert list(cards) == ["classy", "horse", "tiny"]
    tiny, horse = cards["tiny"], cards["horse"]
    assert (tiny["image_size"], tiny["channels"], tiny["latent_size"], tiny["kind"]) == (16, 3, 8, "dcgan")
    assert tiny["names"] == [f"tiny@{tiny['digest'][:12]}", "tiny"]
    assert cards["classy"]["classes"] == ["cat", "dog"]
    assert (horse["domains"], horse["can"]) == (["horse", "zebra"], ["translate"])
    assert tiny["card"] is None


def test_the_real_service_is_healthy(server: str) -> None:
    for path in ("/livez", "/healthz", "/readyz"):
        assert requests.get(f"{server}{path}", timeout=300).status_code == 200


def test_a_new_model_appears_without_a_restart(
    serve: Callable[..., Any], save_sampler: Callable[..., Path], wait_until: Callable[..., None], tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    save_sampler(folder / "first.safetensors")
    one = serve(models=(folder,), reload_s=0.05)

    def names() -> list[str]:
        return [card["name"] for card in requests.get(f"{one.url}/v1/models", timeout=300).json()["models"]]

    assert names() == ["first"]
    (folder / "second.md").write_text("# What it does badly\n")
    save_sampler(folder / "second.safetensors", seed=2)
    wait_until(lambda: names() == ["first", "second"], "the second model")
    cards = requests.get(f"{one.url}/v1/models", timeout=300).json()["models"]
    assert [card["card"] for card in cards] == [None, "# What it does badly\n"]
    (folder / "third.safetensors").write_bytes(b"nothing of the kind")
    wait_until(
        lambda: bool(requests.get(f"{one.url}/v1/models", timeout=300).json()["refused"]), "the third model's refusal"
    )
    assert one.runtime.ready


def test_a_stray_file_is_listed_for_what_it_is(
    serve: Callable[..., Any], save_sampler: Callable[..., Path], tmp_path: Path
) -> None:
    """A name that is not UTF-8 is no JSON as it stands, and a fifo for a card would keep the answer for good."""
    folder = tmp_path / "models"
    folder.mkdir()
    save_sampler(folder / "first.safetensors")
    (folder / os.fsdecode(b"caf\xe9.safetensors")).write_bytes(b"a model of another machine")
    os.mkfifo(folder / "first.md")
    one = serve(models=(folder,))
    assert one.runtime.ready
    catalogue = requests.get(f"{one.url}/v1/models", timeout=300).json()
    assert [(card["name"], card["card"]) for card in catalogue["models"]] == [("first", None)]
    assert [refused["file"] for refused in catalogue["refused"]] == ["caf\ufffd.safetensors"]

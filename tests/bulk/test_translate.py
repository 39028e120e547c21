"""Every photo becomes the picture that a plain loop makes of it, also where actors are killed, and the rest is said."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import models
from bulk import translate
from bulk.command import main
from models import InputError, Origin, Pixels, Translator
from service.engine.engine import Engine
from service.settings import Settings
from service.telemetry import Telemetry
from tests.bulk.conftest import PRETRAINED, actors_of, begun, wait_until
from tests.service.conftest import save_translator

MODEL = PRETRAINED / "horse2zebra.safetensors"


def plain(photo: Path, model: Translator) -> bytes:
    """One photo, step by step; of this size nothing has to be padded."""
    with Image.open(photo) as image:
        pixels = np.array(ImageOps.exif_transpose(image))
    translated = model(models.to_float(pixels[None]), "a_to_b")
    origin = Origin("compositeWithTrainedAlgorithmicMedia", {"digest": model.digest, "direction": "a_to_b"})
    return models.encode(models.to_uint8(translated)[0], text=origin.text, xmp=origin.packet())


@pytest.fixture
def photos(horses: list[Path], tmp_path: Path) -> Path:
    """Nine photos of 128 px, two of them in a folder, and three files that are none or cannot be used."""
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    for number, horse in enumerate(horses[:9]):
        with Image.open(horse) as image:
            image.crop((64, 64, 192, 192)).save(folder / ("trip" if number < 2 else "") / horse.name)
    (folder / "broken.jpg").write_bytes(horses[0].read_bytes()[:900])
    (folder / "notes.txt").write_text("no photo")
    Image.new("RGB", (200, 101)).save(folder / "large.png")
    return folder


def test_an_actor_is_killed_and_nothing_shows_of_it(photos: Path, tmp_path: Path) -> None:
    zebras = tmp_path / "zebras"
    arguments = ("translate", photos, zebras, "--model", "horse2zebra", "--direction", "zebra", "--actors", 2)
    arguments += ("--max-pixels", 20_000)
    with begun(*arguments) as process:
        wait_until(lambda: list(zebras.glob("**/*.png")), process)
        os.kill(actors_of(process.pid)[0], signal.SIGKILL)
        assert len(list(zebras.glob("**/*.png"))) < 9, "it was killed while there was work"
        said = process.communicate()[1]
    assert process.returncode == 3, said
    assert "2 of the inputs were broken: see errors.jsonl" in said
    model = models.load(MODEL, Translator)
    for photo in photos.rglob("n0*.jpg"):
        made = zebras / photo.relative_to(photos).with_suffix(".png")
        assert made.read_bytes() == plain(photo, model), photo.name
    errors = [json.loads(line) for line in (zebras / "errors.jsonl").read_text().splitlines()]
    assert [line["name"] for line in errors] == ["broken.jpg", "large.png"]
    assert "truncated or corrupt" in errors[0]["error"]
    assert "at most 20,000 are accepted" in errors[1]["error"]
    assert not list(zebras.rglob(".*.tmp")), "what was half written by the killed actor"

    for name in ("broken.jpg", "large.png"):
        (photos / name).unlink()
    assert main([str(argument) for argument in arguments]) == 0, "nothing is left to do, nor to be said"
    assert not (zebras / "errors.jsonl").exists()


def test_what_is_there_is_left_as_it_is(photos: Path, tmp_path: Path) -> None:
    """And where nothing is left to do, no actor is started for it."""
    for name in ("broken.jpg", "large.png"):
        (photos / name).unlink()
    model = models.load(MODEL, Translator)
    for photo in photos.rglob("n0*.jpg"):
        made = (tmp_path / "zebras" / photo.relative_to(photos)).with_suffix(".png")
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(b"made before")
    plan = translate.translate(str(photos), str(tmp_path / "zebras"), MODEL, "zebra")
    assert (plan.total, plan.done) == (9, 9)
    assert plan.about == {"command": "translate", "model": model.digest, "direction": "a_to_b"}


def test_two_photos_of_one_picture_are_both_said(photos: Path, tmp_path: Path) -> None:
    """Which of them was there before must not depend on the order in which they came."""
    photo = next(photos.glob("n0*.jpg"))
    Image.new("RGB", (256, 256)).save(photo.with_suffix(".bmp"))
    plan = translate.translate(str(photos), str(tmp_path / "zebras"), MODEL, "zebra")
    assert [name for name, _ in plan.broken] == [photo.with_suffix(".bmp").name, photo.name]
    assert all(f"{photo.stem}.png" in why for _, why in plan.broken)


def test_a_photo_of_any_size_comes_back_in_its_size() -> None:
    model = models.load(MODEL, Translator)
    pixels = models.as_pixels(Image.radial_gradient("L").resize((51, 38)))
    with Image.open(io.BytesIO(translate.Painter(model, "b_to_a")(pixels))) as picture:
        assert picture.size == (51, 38)


def test_a_large_photo_goes_in_the_tiles_of_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its layers sum in another order, so a value here and there is rounded to its neighbour."""
    model = models.load(save_translator(tmp_path / "small.safetensors"), Translator)
    photo = np.random.default_rng(0).integers(0, 256, (401, 303, 3), dtype=np.uint8)

    async def served() -> Pixels:
        engine = Engine(Settings(tile=256, tile_above_pixels=100_000), Telemetry())
        try:
            return await (await engine.serve("small", model)).image(photo, "a_to_b")  # type: ignore[union-attr]
        finally:
            engine.close()

    monkeypatch.setattr("models.tiles.SIDE", 256)
    monkeypatch.setattr("models.tiles.WHOLE", 100_000)
    with Image.open(io.BytesIO(translate.Painter(model, "a_to_b")(photo))) as picture:
        difference = np.abs(np.asarray(picture, int) - asyncio.run(served()))
    assert difference.max() <= 1
    assert difference.mean() < 0.01


@pytest.mark.parametrize(("name", "made"), [("a.jpg", "a.png"), ("b/a.b.JPEG", "b/a.b.png"), ("b.c/a", "b.c/a.png")])
def test_a_picture_has_the_name_of_its_photo(name: str, made: str) -> None:
    assert translate.picture(name) == made


def test_a_direction_is_what_photos_become() -> None:
    model = models.load(MODEL, Translator)
    assert translate.direction_to("zebra", model) == "a_to_b"
    assert translate.direction_to("horse", model) == "b_to_a"
    with pytest.raises(InputError, match="zebra or horse, not 'cow'"):
        translate.direction_to("cow", model)

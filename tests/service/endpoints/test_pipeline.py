"""Photos on their way through a translator that the test plays: what is decoded when, and what is said before."""

import asyncio
import contextlib
import gc
import io
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PIL import Image

from models.errors import BrokenImageError, LimitError, OverloadError
from models.images import Pixels
from models.origin import Origin
from service.call import Call, File
from service.endpoints.orders import Order, Translated
from service.endpoints.pipeline import checked, translate_all
from service.engine.batcher import Flow
from service.engine.translator import Done, Translator
from service.http.answers import error_answer
from service.runtime import Runtime
from service.settings import Settings

Picture = Callable[..., bytes]


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    one = Runtime(Settings(models=(tmp_path,), store=tmp_path / "store", decoded_pixels=2 * 8 * 8, encode_threads=1))
    yield one
    asyncio.run(one.stop())


class Played:
    """A translator that inverts, keeps what it was asked and fails where a test says so."""

    network = SimpleNamespace(channels=3)

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.inside = self.most = self.let_in_for = 0
        self.fails: Callable[[int], Exception | None] = lambda count: None
        self.full = False

    def check(self, height: int, width: int, name: str, most: int) -> None:
        if height > 100:
            raise LimitError("That is a tower.", where=name)

    @contextlib.contextmanager
    def let_in(self, flow: Flow, sizes: list[tuple[int, int]]) -> Iterator[None]:
        self.let_in_for += len(sizes)
        if self.full:
            raise OverloadError("Much is waiting.", retry_after_s=1.0)
        yield

    def tiles(self, height: int, width: int) -> int:
        return 1

    def at_once(self, height: int, width: int) -> int:
        return 2

    async def masked(self, pixels: Pixels, direction: str, flow: Flow, done: Done | None = None) -> tuple[Pixels, None]:
        self.asked.append(direction)
        if error := self.fails(len(self.asked)):
            raise error
        self.inside += pixels[..., 0].size
        self.most = max(self.most, self.inside)
        await asyncio.sleep(0)
        self.inside -= pixels[..., 0].size
        if done is not None:
            done(255 - pixels, (0, 0, *pixels.shape[:2]))
        return 255 - pixels, None


def order(unit: Played, **wanted: Any) -> Order:
    fields: dict[str, Any] = {"direction": "a_to_b", "cycle": False, "kind": "png", "quality": 90, **wanted}
    return Order("horse", cast(Translator, unit), origin=Origin("compositeWithTrainedAlgorithmicMedia", {}), **fields)


async def translated(runtime: Runtime, call: Call, wanted: Order, photos: list[File]) -> list[Translated]:
    return await translate_all(runtime, call, wanted, await checked(runtime, call, wanted, photos))


def files(*photos: bytes) -> list[File]:
    return [File(f"{index}.png", io.BytesIO(photo)) for index, photo in enumerate(photos)]


def test_a_job_waits_for_room_in_the_queue_where_a_request_is_turned_away(runtime: Runtime, picture: Picture) -> None:
    unit, seen = Played(), list[tuple[int, int]]()
    unit.fails = lambda count: OverloadError("Much is waiting.", retry_after_s=0.0) if count % 2 else None
    with pytest.raises(OverloadError):
        asyncio.run(translated(runtime, Call(), order(unit), files(picture(2, 3))))
    unit.asked.clear()
    job = Call(is_job=True, progress=lambda done, total: seen.append((done, total)))
    (done,) = asyncio.run(translated(runtime, job, order(unit, cycle=True), files(picture(2, 3))))
    assert (done.height, done.width, done.cycle_l1, seen) == (2, 3, 0.0, [(0, 2), (1, 2), (2, 2)])  # there and back
    assert unit.asked == ["a_to_b", "a_to_b", "b_to_a", "b_to_a"]


def test_no_more_is_decoded_at_once_than_there_is_room_for(runtime: Runtime, picture: Picture) -> None:
    unit = Played()
    done = asyncio.run(translated(runtime, Call(), order(unit), files(*[picture(8, 8)] * 7)))
    assert [one.name for one in done] == [f"{index}.png" for index in range(7)]
    assert 0 < unit.most <= 2 * 8 * 8
    assert runtime.decoded.free == 2 * 8 * 8


def test_of_a_clip_few_frames_wait_for_the_device(runtime: Runtime, picture: Picture) -> None:
    frames = [Image.new("RGB", (8, 8), (20 * index, 0, 0)) for index in range(9)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    unit = Played()
    (done,) = asyncio.run(translated(runtime, Call(), order(unit, clip=lambda _: "gif"), files(buffer.getvalue())))
    assert (done.format, done.frames, unit.let_in_for, len(unit.asked)) == ("gif", 9, 9, 9)
    assert unit.most <= 3 * 8 * 8  # two at once, and the one that was decoded meanwhile
    assert runtime.decoded.free == 2 * 8 * 8


@pytest.mark.parametrize("what", ["a full queue", "a size", "a format"])
def test_what_headers_tell_is_said_before_anything_is_decoded(runtime: Runtime, picture: Picture, what: str) -> None:
    unit = Played()
    unit.full = what == "a full queue"
    broken = picture(8, 8)[:-40]  # whose header is whole: it would be found when it is decoded
    odd = {"a full queue": picture(8, 8), "a size": picture(101, 1), "a format": picture(1, 16_384)}[what]
    with pytest.raises((OverloadError, LimitError)):
        asyncio.run(translated(runtime, Call(), order(unit, kind="webp"), files(broken, odd)))
    assert unit.asked == []


def test_a_round_trip_is_let_in_for_both_ways(runtime: Runtime, picture: Picture) -> None:
    unit = Played()
    asyncio.run(translated(runtime, Call(), order(unit, cycle=True), files(picture(8, 8), picture(8, 8))))
    assert unit.let_in_for == len(unit.asked) == 4


def test_a_job_tells_of_a_broken_photo_before_it_begins(runtime: Runtime, picture: Picture) -> None:
    unit = Played()
    job = Call(is_job=True, progress=lambda done, total: None)
    with pytest.raises(BrokenImageError) as caught:
        asyncio.run(translated(runtime, job, order(unit), files(picture(8, 8), picture(8, 8)[:-40])))
    assert (caught.value.where, unit.asked) == ("1.png", [])


def test_an_error_that_has_been_answered_keeps_no_photo(runtime: Runtime, picture: Picture) -> None:
    """Its traceback refers to the frames that it passed, these to tasks, and these to the error: a circle."""
    unit, photos = Played(), list[weakref.ref[Any]]()

    def remember(pixels: Pixels, direction: str, flow: Flow, done: Done | None) -> Any:
        photos.append(weakref.ref(pixels))
        return Played.masked(unit, pixels, direction, flow)

    unit.masked = remember  # type: ignore[method-assign]
    unit.fails = lambda count: OverloadError("Much is waiting.", retry_after_s=0.0) if count == 2 else None

    async def answered() -> None:
        try:
            await translated(runtime, Call(), order(unit), files(*[picture(8, 8)] * 4))
        except OverloadError as error:
            error_answer(error)
        await runtime.beside_the_loop(Call(), int)  # after what the one thread was at when they left

    gc.collect()
    gc.disable()
    try:
        asyncio.run(answered())
        assert photos
        assert [photo() for photo in photos if photo() is not None] == []
    finally:
        gc.enable()

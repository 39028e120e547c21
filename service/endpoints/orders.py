"""What is wanted of the photos and clips of a request, and what they share on their way through a translator."""

import asyncio
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

import models
from models import Animation, Video, tiles
from models.errors import InputError
from models.images import Pixels
from models.origin import Origin
from service.call import Call, File, Progress, Show
from service.encoding.masks import read_mask
from service.encoding.photos import Header
from service.encoding.pictures import ImageFormat
from service.engine import patience
from service.engine.batcher import Flow
from service.engine.translator import Done, Translator
from service.runtime import Runtime

Result = TypeVar("Result")
Sound = Literal["kept", "dropped"]


@dataclass(frozen=True)
class Order:
    """What is wanted of each photo of a request, which is counted under the name `model`; the answer says `origin`.

    size: (width, height) that the translations are resampled to.
    strength: how much of the change is kept, 0 to 1.  shows_mask: give the mask of what changed as a file too.
    reads_mask: decodes a client's mask of what may change, of so many pixels at most: uint8 [h, w].
    clip: the format that an upload is answered in as a clip; None for one picture, of a clip the first frame.
    """

    model: str
    unit: Translator
    direction: models.Direction
    cycle: bool
    kind: ImageFormat
    quality: int
    origin: Origin
    size: tuple[int, int] | None = None
    strength: float = 1.0
    shows_mask: bool = False
    reads_mask: Callable[[File, int], Pixels] = read_mask
    clip: Callable[[Header], Animation | Video | None] = lambda header: None

    @property
    def back(self) -> models.Direction:
        return "b_to_a" if self.direction == "a_to_b" else "a_to_b"

    def frames(self, header: Header) -> int:
        """How many pictures of an upload are translated."""
        return header.motion.frames if header.motion is not None and self.clip(header) is not None else 1


@dataclass(frozen=True)
class Upload:
    """A photo, and the client's mask of what may change in it."""

    photo: File
    mask: File | None = None


@dataclass(frozen=True)
class Translated:
    """A translation as a file with so many frames; `cycle_l1` is the mean absolute difference of the round trip, 0..1.

    sound: what became of a clip's, where it has one.
    mask: where it was asked for, a grey PNG of how far each pixel was changed: by the network's attention, as far as
        the client's own mask and the strength let it.
    """

    name: str
    height: int
    width: int
    cycle_l1: float | None
    file: bytes
    origin: Origin
    format: ImageFormat | Animation | Video
    frames: int = 1
    sound: Sound | None = None
    mask: bytes | None = None


class Pieces:
    """Tells how far a job is: in photos, of a clip in frames, a large one counted once for each of its tiles,
    and twice on a round trip."""

    def __init__(self, order: Order, headers: Iterable[Header], progress: Progress, show: Show) -> None:
        ways = 2 if order.cycle else 1
        self._total = ways * sum(
            order.unit.tiles(header.height, header.width) * order.frames(header) for header in headers
        )
        self._done = 0
        self._progress = progress
        self._show = show

    def tell(self, more: int) -> None:
        self._done += more
        self._progress(self._done, self._total)

    def of(self, pixels: Pixels) -> Done:
        """What is told of the pieces of this image."""
        canvas = tiles.Canvas(pixels)

        def done(piece: Pixels, place: tiles.Place) -> None:
            canvas.put(piece, place)
            self._show(canvas.pixels)
            self.tell(1)

        return done


class Shared:
    """What the photos of one request share: their share of the device, one thread at a time beside the loop, and the
    limit in pixels, `most`."""

    def __init__(self, runtime: Runtime, call: Call, order: Order, most: int, pieces: Pieces | None = None) -> None:
        self.runtime = runtime
        self.order = order
        self.most = most
        self.flow = Flow(patient=call.is_job)
        self._call = call
        self._pieces = pieces
        self._turn = asyncio.Lock()

    async def beside(self, function: Callable[..., Result], *arguments: object) -> Result:
        """What the function returns, from a thread."""
        async with self._turn:
            return await self.runtime.beside_the_loop(self._call, function, *arguments)

    async def image(self, pixels: Pixels, direction: models.Direction) -> tuple[Pixels, Pixels | None]:
        """A translation and its mask, as `Translator.masked` gives them, by the order's unit."""
        done = self._pieces.of(pixels) if self._pieces is not None else None
        make = functools.partial(self.order.unit.masked, pixels, direction, self.flow, done)
        return await patience.let_in(self._call, make)

    def count(self, pixels: Pixels) -> None:
        """Takes note of an image that was translated."""
        order = self.order
        self.runtime.served("translate", order.model, [pixels], drift=f"{order.model}:{order.direction}")


def allowed_of(upload: Upload, order: Order, most: int, photo: Header) -> Pixels | None:
    """The client's mask of what may change, uint8 [h, w], where it sent one. Raises as `order.reads_mask` and
    `check_mask` do."""
    if upload.mask is None:
        return None
    allowed = order.reads_mask(upload.mask, most)
    check_mask(allowed.shape == (photo.height, photo.width), upload.mask.name[:100], photo)
    return allowed


def check_mask(fits: bool, name: str, photo: Header) -> None:
    """Raises InputError, which names a mask and its photo, unless the mask `fits`. It is not made to: a mask that was
    drawn for another photo, or for this one before it was turned, would let the wrong things change."""
    if not fits:
        raise InputError(
            f"{name} has not the size of {photo.name}, {photo.width} x {photo.height} pixels: a mask is as large as "
            "its photo, and turned as it is seen.",
            where="mask",
        )


def with_alpha(pixels: Pixels, alpha: Pixels | None) -> Pixels:
    """uint8 [h, w, 1 or 3] with alpha uint8 [h, w], where there is one: [h, w, 4]."""
    if alpha is None:
        return pixels
    colour = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    return np.concatenate([colour, alpha[..., None]], axis=2)

"""Translates every photo of a place, one by one, into another: the same names, as PNG."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch

import models
from bulk import photos, places
from bulk.cluster import Actors
from bulk.pipeline import Report, reports
from bulk.run import Plan
from bulk.shipping import Shipped
from models import Direction, InputError, Origin, Pixels, Translator, filesets, tiles

_AT_A_TIME = 4  # photos in a piece, of which at most as many are begun again when an actor dies


def translate(read: str, written: str, checkpoint: Path, domain: str, *, max_pixels: int = photos.MAX_PIXELS) -> Plan:
    """The plan for a translation of all photos to a domain.

    Args:
        read: a folder, an archive or a bucket of photos.
        written: a folder or a bucket.
        checkpoint: of a translator.
        domain: what the photos are to show, one of the translator's two.
        max_pixels: of one photo; a larger one is listed as broken.
    Raises:
        InputError, NotFoundError, CheckpointError: nothing can be made of these.
    """
    places.check_apart(read, written)
    translator = models.load(checkpoint, Translator)
    direction = direction_to(domain, translator)
    files = places.source(read)
    names = files.images
    if not names:
        raise InputError(f"There is no image in {files.name}.", where=files.name)
    made = Counter(map(picture, names))
    twice = [name for name in names if made[picture(name)] > 1]
    there = places.place(written).names()
    left = [name for name in names if made[picture(name)] == 1 and picture(name) not in there]

    def work(actors: Actors) -> Iterator[Report]:
        given = {"checkpoint": Shipped.of(checkpoint), "direction": direction, "written": written, "gpu": actors.gpu}
        reader = photos.Reader(read, max_pixels)
        return reports(photos.pieces(left, _AT_A_TIME), reader, _Translating, given, actors)

    return Plan(
        written,
        {"command": "translate", "model": translator.digest, "direction": direction},
        total=len(names) - len(twice),
        done=len(names) - len(twice) - len(left),
        broken=tuple((name, f"its picture, {picture(name)}, would be another one's too: rename it") for name in twice),
        work=work,
    )


def direction_to(domain: str, translator: Translator) -> Direction:
    """The direction that ends in a domain; raises InputError where there is none."""
    if domain not in translator.ends:
        raise InputError(f"--direction is what photos become: {' or '.join(translator.ends)}, not {domain!r}.")
    return translator.ends[domain]


def picture(name: str) -> str:
    """The name of a photo's translation."""
    return str(PurePosixPath(name).with_suffix(".png")) if filesets.ending(name) else f"{name}.png"


@dataclass(frozen=True)
class Painter:
    """A translator at work, on one photo at a time: its picture depends on nothing but the photo.

    Large photos go in tiles, from as many pixels on as in the service unless that is told otherwise.
    """

    translator: Translator
    direction: Direction

    def __call__(self, pixels: Pixels) -> bytes:
        """A photo uint8 [h, w, 3] to the PNG of its translation, of the same size."""
        least = self.translator.minimum_size
        height, width = (max(side, least) for side in pixels.shape[:2])
        translated = self._piece(pixels) if height * width <= tiles.WHOLE else self._in_tiles(pixels)
        about = {"digest": self.translator.digest, "direction": self.direction}
        origin = Origin("compositeWithTrainedAlgorithmicMedia", about)
        return models.encode(translated, text=origin.text, xmp=origin.packet())

    def _piece(self, pixels: Pixels) -> Pixels:
        images, size = self._input(pixels[None])
        return models.to_uint8(models.crop(self.translator(images, self.direction), size))[0]

    def _in_tiles(self, pixels: Pixels) -> Pixels:
        """As a job of the service does it: every tile with the norms of the whole photo."""
        module, whole = self.translator.parts[self.direction], tiles.aligned(pixels)
        height, width = whole.shape[:2]
        places = tiles.boxes(height, width, tiles.SIDE)
        with tiles.fixed(module, tiles.measured(module, self._input(tiles.crops(whole))[0])):
            parts = [self._piece(whole[top : top + rows, left : left + columns]) for top, left, rows, columns in places]
        return tiles.blend(parts, places, height, width)[: pixels.shape[0], : pixels.shape[1]]

    def _input(self, pixels: Pixels) -> tuple[torch.Tensor, tuple[int, int]]:
        """uint8 [n, h, w, c] as the network takes it, and (h, w)."""
        translator = self.translator
        images = models.to_float(np.array(pixels))  # a copy: what Pillow gives is read-only, which torch warns of
        padded, size = models.pad_to_stride(images, translator.stride, translator.minimum_size)
        return padded.to(next(translator.parts[self.direction].parameters()).device), size


class _Translating:
    """An actor's work: photos to pictures, which it writes itself."""

    def __init__(self, checkpoint: Shipped, direction: Direction, written: str, gpu: bool) -> None:
        torch.set_num_threads(1)
        with checkpoint.unpacked() as path:
            self.paint = Painter(models.load(path, Translator, device="cuda" if gpu else "cpu"), direction)
        self.written = places.place(written)

    def __call__(self, piece: list[photos.Photo]) -> Report:
        for name, pixels in piece:
            if not isinstance(pixels, str):
                self.written.write(picture(name), self.paint(pixels))
        return Report(len(piece), tuple((name, why) for name, why in piece if isinstance(why, str)))

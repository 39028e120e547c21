"""Draws as many samples as are wanted, in shards: a tar of PNGs each, as WebDataset and others read them.

Sample i has seed + i, and class i modulo the classes, as `metrics.Samples` has them. A shard has
the name of its first seed.
"""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

import models
from bulk import places
from bulk.cluster import Actors
from bulk.pipeline import Report, reports
from bulk.run import Plan
from bulk.shipping import Shipped
from models import Generator, InputError, Origin

MOST = 1_000_000_000  # samples; two million shards, which are listed
SHARD = 512  # samples
_BATCH = 32  # that the network sees at a time, on any device: others would round otherwise


@dataclass(frozen=True)
class Piece:
    """Samples `start` up to `stop` of a run."""

    start: int
    stop: int


def sample(count: int, written: str, checkpoint: Path, seed: int) -> Plan:
    """The plan for `count` samples from `seed` on.

    Raises:
        InputError, NotFoundError, CheckpointError: nothing can be made of these.
    """
    if not 1 <= count <= MOST:
        raise InputError(f"Draw 1 sample or more, and at most {MOST:,}, not {count}.", where="count")
    generator = models.load(checkpoint, Generator)
    models.check_seed(seed)
    models.check_seed(seed + count - 1)
    there = places.place(written).names()
    every = [Piece(start, min(start + SHARD, count)) for start in range(0, count, SHARD)]
    left = [piece for piece in every if shard_name(seed + piece.start) not in there]

    def work(actors: Actors) -> Iterator[Report]:
        given = {"checkpoint": Shipped.of(checkpoint), "written": written, "seed": seed, "gpu": actors.gpu}
        return reports(left, None, _Sampling, given, actors)

    return Plan(
        written,
        {"command": "sample", "model": generator.digest, "seed": seed, "count": count},
        total=count,
        done=count - sum(piece.stop - piece.start for piece in left),
        work=work,
    )


def shard_name(seed: int) -> str:
    """The name of the shard that begins with this seed."""
    return f"{seed:012}.tar"


def shard(generator: Generator, piece: Piece, seed: int) -> bytes:
    """The tar of a piece: one PNG a sample, named by its seed; byte for byte the same whenever it is made."""
    device = next(generator.parts["generator"].parameters()).device
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for start in range(piece.start, piece.stop, _BATCH):
            numbers = range(start, min(start + _BATCH, piece.stop))
            latents = models.draw([seed + number for number in numbers], generator.latent_size).to(device)
            classes = None
            if generator.classes:
                classes = torch.tensor(numbers, device=device) % len(generator.classes)
            for number, pixels in zip(numbers, models.to_uint8(generator(latents, classes)), strict=True):
                about = {"digest": generator.digest, "seed": str(seed + number)}
                if generator.classes:
                    about["class"] = str(number % len(generator.classes))
                origin = Origin("trainedAlgorithmicMedia", about)
                picture = models.encode(pixels, text=origin.text, xmp=origin.packet())
                member = tarfile.TarInfo(f"{seed + number:012}.png")  # of no owner, and of 1970
                member.size = len(picture)
                archive.addfile(member, io.BytesIO(picture))
    return buffer.getvalue()


class _Sampling:
    """An actor's work: pieces to shards, which it writes itself."""

    def __init__(self, checkpoint: Shipped, written: str, seed: int, gpu: bool) -> None:
        torch.set_num_threads(1)
        with checkpoint.unpacked() as path:
            self.generator = models.load(path, Generator, device="cuda" if gpu else "cpu")
        self.written, self.seed = places.place(written), seed

    def __call__(self, piece: Piece) -> Report:
        self.written.write(shard_name(self.seed + piece.start), shard(self.generator, piece, self.seed))
        return Report(piece.stop - piece.start)

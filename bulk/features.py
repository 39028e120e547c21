"""The statistics of a set of any size, as `python -m metrics stats` writes them, to the last digit.

Actors give features; they are summed here, in the images' order, so that nothing depends on who came first. The sums
are put down from time to time, in a file beside the one that is to be written, and the same command goes on from there.
Moments of parts could be merged instead, but to another last digit, and those of a part are larger than its features
until it has 4,096 images.
"""

import hashlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

import metrics
from bulk import photos, places
from bulk.cluster import Actors
from bulk.pipeline import Report, reports
from bulk.run import Plan
from bulk.shipping import Shipped
from bulk.sums import Measured, Sums
from metrics import FEATURE_LIMIT, PROTOCOLS, FeatureSet
from models import MAX_PIXELS, InputError, LimitError, Pixels, addresses

_AT_A_TIME = 64  # images in a piece: whole batches of any extractor, as the whole set would be divided
PUT_DOWN_EVERY_S = 60.0


def features(read: str, written: str, *, protocol: str = "pytorch-fid", keep: bool = False) -> Plan:
    """The plan for the statistics of a place.

    Args:
        read: a folder, an archive or a bucket of images, or of shards of them.
        written: the `.npz`, in a folder or a bucket.
        protocol: how images are resized, a name in `metrics.PROTOCOLS`.
        keep: keep the features in it too, for metrics beside FID.
    Raises:
        InputError, NotFoundError: nothing can be made of these.  LimitError: too many to keep their features.
        WeightsUnavailable.
    """
    folder, name = _parts(written)
    place = places.place(folder)
    if name in place.names():
        return Plan(folder, {}, total=0, done=0, work=lambda actors: iter(()))
    files = places.source(read)
    images = files.images
    shards = [one for one in files.names if photos.is_shard(one)]
    if not images and not shards:
        raise InputError(f"There is no image in {files.name}.", where=files.name)
    if keep and len(images) > FEATURE_LIMIT:
        raise LimitError(
            f"{files.name} has {len(images):,} images; features are kept of at most {FEATURE_LIMIT:,}: "
            "leave --keep out."
        )
    pieces = photos.pieces([*images, *shards], _AT_A_TIME)
    words = "\0".join([read, protocol, str(keep), *images, *shards]).encode(errors="surrogateescape")
    sums = _begun(place, f"{name}.partial", hashlib.sha256(words).hexdigest())

    def work(actors: Actors) -> Iterator[Report]:
        yield Report(0, tuple(sums.broken))
        given = {"weights": Shipped.of(metrics.weights_file()), "protocol": protocol, "gpu": actors.gpu}
        put_down = time.monotonic()
        for report in reports(pieces[sums.pieces :], photos.Reader(read, MAX_PIXELS), _Measuring, given, actors):
            sums.add(report.result, report.done, report.broken, keep=keep)
            if time.monotonic() - put_down >= PUT_DOWN_EVERY_S:
                place.write(f"{name}.partial", sums.packed())
                put_down = time.monotonic()
            yield report
        place.write(name, _as_file(sums.result(files.name, protocol)))
        place.remove(f"{name}.partial")

    return Plan(folder, {}, total=None if shards else len(images), done=sums.images, work=work)


def _parts(written: str) -> tuple[str, str]:
    """The folder or bucket of a file that is to be written, and its name there; raises InputError for another name."""
    folder, _, name = written.rpartition("/")
    if not name.endswith(".npz") or (places.is_bucket(written) and folder.endswith("/")):
        shown = addresses.without_secrets(written)
        raise InputError(f"Cannot write {shown}: give a name that ends in .npz.", where=shown)
    return folder or ("/" if written.startswith("/") else "."), name


def _begun(place: places.Place, name: str, run: str) -> Sums:
    """The sums that were put down by a run of the same images, or none yet."""
    found = place.read(name)
    if found is None:
        return Sums(run)
    sums = Sums.unpacked(found)
    return sums if sums.run == run else Sums(run)


def _as_file(found: FeatureSet) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "statistics.npz"
        found.save(path)
        return path.read_bytes()


class _Measuring:
    """An actor's work: images to their features, as `metrics` makes them."""

    def __init__(self, weights: Shipped, protocol: str, gpu: bool) -> None:
        torch.set_num_threads(1)
        with weights.unpacked() as path:
            self.network = metrics.extractor(path, device="cuda" if gpu else "cpu")
        self.protocol = PROTOCOLS[protocol]

    def __call__(self, piece: list[photos.Photo]) -> Report:
        pixels: list[Pixels] = [one for _, one in piece if not isinstance(one, str)]
        broken = tuple((name, one) for name, one in piece if isinstance(one, str))
        images = metrics.open_images(pixels) if pixels else None
        batches = metrics.stream_features(images, self.network, self.protocol, workers=1) if images else ()
        found = Measured(tuple(batches), self.network.name, self.network.precision, self.network.dimensions)
        return Report(len(piece), broken, found)

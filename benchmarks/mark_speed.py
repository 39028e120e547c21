"""What a picture's marks cost: its XMP, its signature, and the look at both.

    python -m benchmarks.mark_speed         half a minute; prints a Markdown table

Milliseconds and bytes of one picture of one sampler (cifar10-dcgan) and of one photo's translation, encoded without a
mark, with XMP, and signed (C2PA, ES256, no timestamp); and of verifying the signature. Each row's figures are medians
of interleaved rounds, so that a machine that changes its speed changes all of them.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image

import models
from benchmarks.certificates import certificate
from benchmarks.serve_speed import ROOT
from models.images import Pixels
from models.origin import Origin
from service.encoding import pictures
from service.encoding.manifests import Signer, Verifier
from service.encoding.pictures import ImageFormat
from service.encoding.writer import Writer

ROUNDS = 100
PHOTO = ROOT / "tests" / "fixtures" / "horse2zebra" / "testA"


def subjects() -> dict[str, tuple[Pixels, Origin]]:
    """A sample of 32 px, and a photo of 256 px."""
    network = models.load(ROOT / "models" / "pretrained" / "cifar10-dcgan.safetensors", models.Generator)
    drawn = models.to_uint8(network(models.draw([7], network.latent_size)))[0]
    photo = np.asarray(Image.open(sorted(PHOTO.iterdir())[0]).convert("RGB").resize((256, 256)))
    about = {"model": "cifar10-dcgan@1", "digest": network.digest}
    training = network.metadata.training
    return {
        "sample, 32 px": (drawn, Origin("trainedAlgorithmicMedia", {**about, "seed": "7"}, training)),
        "translation, 256 px": (photo, Origin("compositeWithTrainedAlgorithmicMedia", about, training, "0" * 64)),
    }


def medians(*ways: Callable[[], object]) -> list[float]:
    """Milliseconds of each, in rounds of another order each, because one leaves the caches cold for the next."""
    times: list[list[float]] = [[] for _ in ways]
    shuffled = random.Random(0)
    for _ in range(ROUNDS):
        for index in shuffled.sample(range(len(ways)), len(ways)):
            start = time.perf_counter()
            ways[index]()
            times[index].append((time.perf_counter() - start) * 1e3)
    return [statistics.median(measured) for measured in times]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = certificate(Path(folder))
        marked, signed = Writer(None), Writer(Signer(made.chain, made.key))
    verifier = Verifier(None)
    print("| | plain, ms (bytes) | with XMP | signed too | verified |\n| --- | --- | --- | --- | --- |")
    for name, (pixels, origin) in subjects().items():
        for kind in get_args(ImageFormat):
            ways: list[Callable[[], bytes]] = [
                lambda pixels=pixels, kind=kind: pictures.encode(pixels, kind, 90),
                lambda pixels=pixels, kind=kind, origin=origin: marked.image(pixels, kind, 90, origin),
                lambda pixels=pixels, kind=kind, origin=origin: signed.image(pixels, kind, 90, origin),
            ]
            files = [way() for way in ways]
            *wrote, read = medians(*ways, lambda file=files[-1], kind=kind: verifier.verify(file, kind))
            cells = [f"{ms:.2f} ({len(file):,})" for ms, file in zip(wrote, files, strict=True)]
            print(f"| {name}, {kind} | {' | '.join(cells)} | {read:.2f} |", flush=True)


if __name__ == "__main__":
    main()

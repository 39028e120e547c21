"""Photos a second of shipped translators over HTTP, side by side in one run: the first named and the others.

    python -m benchmarks.translator_speed horse2zebra horse2zebra-small

A JPEG of a real photo of 256 px, horses to zebras, answered as PNG and as JPEG; 1 and 4 clients. The models
take turns, so that a processor that slows down slows down all of them; of the rounds, the medians.
"""

import argparse
import itertools
import os
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

from PIL import Image

import models
from benchmarks.load import measure, upload
from benchmarks.serve_speed import NATIVE, OURS, ROOT, Server, running

SHIPPED = ["horse2zebra", "horse2zebra-small"]
PHOTO = ROOT / "tests/fixtures/horse2zebra/testA"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=SHIPPED, help="models of models/pretrained")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="for each model in a round")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="for translations; default: all cores")
    arguments = parser.parse_args()
    with Image.open(sorted(PHOTO.iterdir())[0]) as photo:
        file = models.encode(models.as_pixels(photo.convert("RGB").resize((256, 256))), "jpeg")
    print(f"{'':34s}" + "".join(f"{name:>20s}" for name in arguments.names) + "   times the first")
    for precision in NATIVE:
        environment = {
            "GAN_PRECISION": precision,
            "GAN_TRANSLATE_THREADS": str(arguments.threads),
            "GAN_MODELS": str(ROOT / "models" / "pretrained"),
        }
        with tempfile.TemporaryDirectory() as folder, running(Server("ours", OURS, environment), Path(folder)) as port:
            for kind, clients in itertools.product(("png", "jpeg"), (1, 4)):
                rates = defaultdict[str, list[float]](list)
                for name in arguments.names * (1 + arguments.rounds):
                    target = upload(port, "/v1/translate", file, model=name, direction="a_to_b", format=kind)
                    figures = measure(target, clients, arguments.seconds)
                    if figures.errors:
                        raise RuntimeError(f"{figures.errors} of {figures.count} requests to {name} failed.")
                    rates[name].append(figures.rate)
                found = {name: statistics.median(several[1:]) for name, several in rates.items()}  # the first warms up
                first, *others = found.values()
                row = f"{precision}, {kind}, {clients} client{'s' * (clients > 1)}"
                print(f"{row:34s}" + "".join(f"{rate:20.1f}" for rate in found.values()), end="   ")
                print(", ".join(f"{rate / first:.2f}" for rate in others), flush=True)


if __name__ == "__main__":
    main()

"""How long an autoencoder takes to find the code of one photo, and to draw it again, on the CPU.

    python -m benchmarks.encode_speed [--threads 2] [--rounds 50]

The network is an ALAE with DCGAN's trunks (64 px, colour, width 64, codes of 128), laid out as the service lays it out,
with random weights: speed does not depend on them. The photo is a JPEG of 64 px, decoded each time, as an upload is.
Prints a Markdown table of medians and 95th percentiles, for each precision that this processor has instructions for,
and of the processor's time for it, which other work on the machine hardly changes.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from PIL import Image

import models
from benchmarks.serve_speed import NATIVE, ROOT
from models.networks.alae import ConvALAEConfig
from service.engine.prepare import prepare

PHOTO = ROOT / "docs" / "horse.jpg"
SIDE = 64
WARM_UP = 5


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--rounds", type=int, default=50)
    typed = arguments.parse_args()
    torch.set_num_threads(typed.threads)
    torch.manual_seed(0)
    config = ConvALAEConfig(SIDE)
    photo = Image.open(PHOTO).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    upload = models.encode(models.as_pixels(photo), "jpeg")
    print("| | median, ms | 95th percentile, ms | computing, ms |\n| --- | --- | --- | --- |")
    for precision in NATIVE:
        parts = {name: part.eval() for name, part in config.parts().items()}
        network = prepare(models.Autoencoder(parts, config, models.metadata_of(config), ""), precision)

        def encode(network: models.Autoencoder = network) -> torch.Tensor:
            return network.encode(models.to_float(models.as_pixels(models.decode(upload))[None].copy()))

        def draw_again(network: models.Autoencoder = network) -> models.Pixels:
            return models.to_uint8(network.decode(encode(network)))

        for what, call in (("photo to code", encode), ("photo to code and drawn again", draw_again)):
            waited, computed = milliseconds(call, typed.rounds)
            high = statistics.quantiles(waited, n=20)[-1]
            figures = " | ".join(f"{value:.1f}" for value in (statistics.median(waited), high, computed))
            print(f"| {what}, {precision} | {figures} |", flush=True)


def milliseconds(call: Callable[[], object], rounds: int) -> tuple[list[float], float]:
    """How long each of so many calls took, after a few that do not count; and the mean of the processor's time."""
    for _ in range(WARM_UP):
        call()
    waited, begun = [], time.process_time()
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        waited.append(1000 * (time.perf_counter() - started))
    return waited, 1000 * (time.process_time() - begun) / rounds


if __name__ == "__main__":
    main()

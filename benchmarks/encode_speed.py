"""How long an autoencoder takes to find the code of one photo, and to draw it again, on the CPU; and how long the page
waits for that, and for the picture after a slider was moved.

    python -m benchmarks.encode_speed [--threads 2] [--rounds 50]         a minute; prints two Markdown tables

The network is an ALAE with DCGAN's trunks (64 px, colour, width 64, codes of 128), laid out as the service lays it out,
with random weights: speed does not depend on them. The photo is a JPEG of 64 px, decoded each time, as an upload is.
The first table has medians and 95th percentiles, for each precision that this processor has instructions for, and the
processor's time, which other work on the machine hardly changes. The second has the service's answers, as one client of
it waits for them, with the same photo and the same network in the precision that the service chooses.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

import models
from benchmarks.load import Target, measure, upload
from benchmarks.serve_speed import NATIVE, OURS, ROOT, Server, running
from models.networks.alae import ConvALAEConfig
from service.engine.prepare import prepare

PHOTO = ROOT / "docs" / "horse.jpg"
SIDE = 64
WARM_UP = 5
SECONDS = 5.0


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--rounds", type=int, default=50)
    typed = arguments.parse_args()
    torch.set_num_threads(typed.threads)
    torch.manual_seed(0)
    config = ConvALAEConfig(SIDE)
    photo = Image.open(PHOTO).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    jpeg = models.encode(models.as_pixels(photo), "jpeg")
    print("| | median, ms | 95th percentile, ms | computing, ms |\n| --- | --- | --- | --- |")
    for precision in NATIVE:
        parts = {name: part.eval() for name, part in config.parts().items()}
        network = prepare(models.Autoencoder(parts, config, models.metadata_of(config), ""), precision)

        def encode(network: models.Autoencoder = network) -> torch.Tensor:
            return network.encode(models.to_float(models.as_pixels(models.decode(jpeg))[None].copy()))

        def draw_again(network: models.Autoencoder = network) -> models.Pixels:
            return models.to_uint8(network.decode(encode(network)))

        for what, call in (("photo to code", encode), ("photo to code and drawn again", draw_again)):
            waited, computed = milliseconds(call, typed.rounds)
            high = statistics.quantiles(waited, n=20)[-1]
            figures = " | ".join(f"{value:.1f}" for value in (statistics.median(waited), high, computed))
            print(f"| {what}, {precision} | {figures} |", flush=True)
    answers(config, jpeg)


def answers(config: ConvALAEConfig, photo: bytes) -> None:
    """Prints the second table: a photo to its code, and a code with three directions to a PNG, as the page asks."""
    slider = {"latents": [[0.5] * config.code_size], "space": "w", "output": "image"}

    def moved(index: int) -> bytes:
        steps = {"sefa-1": index % 7 / 3 - 1, "sefa-2": 1.5, "pca-1": -0.5}
        return json.dumps({**slider, "directions": steps}).encode()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        metadata = models.metadata_of(config)
        models.save(folder / "alae.safetensors", models.with_directions(config.parts(), metadata), metadata)
        with running(Server("ours", OURS, {}), folder) as port:
            targets = {
                "photo to code": upload(port, "/v1/encode", photo),
                "slider to picture": Target(port, "/v1/sample", "application/json", moved),
            }
            print("\n| the service's answer | median, ms | 95th percentile, ms |\n| --- | --- | --- |")
            for what, target in targets.items():
                measure(target, 1, 1.0)  # to warm up
                got = measure(target, 1, SECONDS)
                if got.errors:
                    raise RuntimeError(f"{what}: {got.errors} of {got.count} answers were errors")
                print(f"| {what} | {got.p50_ms:.0f} | {got.p95_ms:.0f} |", flush=True)


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

"""Requests a second and latency of the service on its shipped models, batched against unbatched.

    python -m benchmarks.requests_speed         three minutes on 2 cores; prints two Markdown tables

`/v1/sample` with n = 1 and n = 16 (cifar10-dcgan, PNG; a zip for 16) and `/v1/translate` of one 256 px photo
(horse2zebra), for 1 and 32 clients. Unbatched is the same service with GAN_MAX_BATCH=1. Then samples while another
client has photos translated, one after the other.
"""

import json
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

import models
from benchmarks.load import Figures, Target, measure, upload
from benchmarks.serve_speed import OURS, ROOT, Server, running

SECONDS = 4.0
LONG = 12.0  # for photos that take seconds
PHOTO = ROOT / "tests" / "fixtures" / "horse2zebra" / "testA"


def sample(port: int, n: int) -> Target:
    """n images of the first sampler."""
    return Target(port, "/v1/sample", "application/json", lambda i: json.dumps({"n": n, "seed": 16 * i}).encode())


def translate(port: int, side: int) -> Target:
    """One photo, scaled to `side` x `side` pixels."""
    photo = Image.open(sorted(PHOTO.iterdir())[0]).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    return upload(port, "/v1/translate", models.encode(models.as_pixels(photo), "jpeg"))


def alone(port: int, way: str) -> None:
    """Rows of the first table: each kind of request by itself."""
    targets = {
        "sample, n = 1": sample(port, 1),
        "sample, n = 16": sample(port, 16),
        "translate, 256 px": translate(port, 256),
    }
    for row, target in targets.items():
        measure(target, 1, 1.0)  # to warm up
        for clients in (1, 32):
            print(f"| {row}, {way} | {clients} | {_cells(measure(target, clients, SECONDS))} |", flush=True)


def beside_photos(port: int) -> None:
    """Rows of the second: samples, and the translations that run beside them."""
    for side in (256, 1024):
        for clients in (1, 32):
            with ThreadPoolExecutor(1) as other:
                photos = other.submit(measure, translate(port, side), 1, LONG)
                got = measure(sample(port, 1), clients, LONG)
                print(f"| {side} px | {clients} | {_cells(got)} | {photos.result().rate:.2f} |", flush=True)


def _cells(got: Figures) -> str:
    return f"{got.rate:.1f} | {got.p50_ms:.0f} | {got.p95_ms:.0f}"


def main() -> None:
    ways: dict[str, dict[str, str]] = {"batched": {}, "unbatched": {"GAN_MAX_BATCH": "1"}}
    with tempfile.TemporaryDirectory() as folder:  # the server writes beside its models
        for file in (ROOT / "models" / "pretrained").glob("*.safetensors"):
            shutil.copy(file, folder)
        print("| | clients | requests/s | p50 ms | p95 ms |\n| --- | --- | --- | --- | --- |")
        for way, environment in ways.items():
            with running(Server(way, OURS, environment), Path(folder)) as port:
                alone(port, way)
        print("\n| beside photos of | clients | samples/s | p50 ms | p95 ms | photos/s |")
        print("| --- | --- | --- | --- | --- | --- |")
        with running(Server("batched", OURS, {}), Path(folder)) as port:
            beside_photos(port)


if __name__ == "__main__":
    main()

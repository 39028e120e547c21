"""What data larger than memory costs: `--packed` beside the same images in memory.

    python -m benchmarks.packed_data            100,000 pictures of 64 px

A set of so many JPEGs in one archive is made in a temporary folder; then each way runs in a process of its own. Printed
as JSON for each: seconds to the first batch, images/s of batches of 64 dealt out as a run would, MB that the process
alone holds at most (anonymous memory), and MB of the file that the kernel had mapped in, which are free to others when
they need them. `packed` makes the pack, `again` finds it.
"""

import argparse
import io
import json
import multiprocessing
import tempfile
import threading
import time
import zipfile
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from training.data.images import Keep, Stream, load_images

DIFFERENT = 1000  # pictures; the others repeat them under other names
BATCH = 64
LOOK_EVERY_S = 0.05
KINDS = ("RssAnon", "RssFile")


def main() -> None:
    """Measures the three ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=64, help="side in pixels")
    parser.add_argument("--batches", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = archive(Path(folder) / "pictures.zip", options.count, options.size)
        kept = Keep(packed=str(Path(folder) / "packs"))
        found = {
            name: apart(str(source), options.size, options.batches, keep)
            for name, keep in (("memory", Keep()), ("packed", kept), ("again", kept))
        }
    print(json.dumps({"images": options.count, "size": options.size, **found}, indent=2))


def archive(path: Path, count: int, size: int) -> Path:
    """A zip of JPEGs of noise that is smooth, as photos are."""
    random = np.random.default_rng(0)
    pictures = []
    for coarse in random.integers(0, 256, (DIFFERENT, 8, 8, 3), np.uint8):
        buffer = io.BytesIO()
        Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(buffer, "JPEG")
        pictures.append(buffer.getvalue())
    with zipfile.ZipFile(path, "w") as file:
        for number in range(count):
            file.writestr(f"{number:07}.jpg", pictures[number % DIFFERENT])
    return path


def apart(source: str, size: int, batches: int, keep: Keep) -> dict[str, float]:
    """What `run` finds, in a new process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=run, args=(source, size, batches, keep, there))
    process.start()
    found: dict[str, float] = here.recv()
    process.join()
    return found


def run(source: str, size: int, batches: int, keep: Keep, answer: Connection) -> None:
    """Deals out batches, and sends what that took."""
    torch.set_num_threads(1)
    before, most, done = memory(), dict.fromkeys(KINDS, 0), threading.Event()

    def watch() -> None:
        while not done.wait(LOOK_EVERY_S):
            for name, value in memory().items():
                most[name] = max(most[name], value - before[name])

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    data = load_images(source, size, 3, keep=keep)
    stream = Stream(data, 0, size, flips=True, device=torch.device("cpu"))
    random = torch.Generator().manual_seed(0)
    stream.take(0, BATCH, random)
    first = time.perf_counter() - started
    started = time.perf_counter()
    for number in range(1, batches + 1):
        stream.take(number * BATCH, BATCH, random)
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    answer.send(
        {
            "seconds_to_first_batch": round(first, 1),
            "images_per_s": round(batches * BATCH / seconds),
            "anonymous_mb": round(most["RssAnon"] / 1000),
            "mapped_mb": round(most["RssFile"] / 1000),
        }
    )


def memory() -> dict[str, int]:
    """kB in memory: of this process alone, and of files that it maps."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {name: int(value.split()[0]) for name, value in (line.split(":", 1) for line in lines) if name in KINDS}


if __name__ == "__main__":
    main()

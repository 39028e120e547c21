"""What a job of very many images takes of memory, while it is made, kept and fetched by several at once.

    python -m benchmarks.large_job                              10,000 images of 256 px; some minutes
    python -m benchmarks.large_job --images 400 --most-mb 700   a look whether it runs

The network is a small one, whose images cost little: memory depends on their number and size. What is counted is the
most that the service's processes together ever held, which is more than what they held at one time: their proportional
set sizes when idle (a page that two of them share counts once), and the most that each grew by since. The exit status
is 1 where that is more than `--most-mb`.
"""

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import requests

import models
from benchmarks.serve_speed import OURS, Server, running

READERS = 4
CHUNK = 1 << 20  # bytes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=256, help="of an image, in pixels: a power of two")
    parser.add_argument("--output", choices=["zip", "npz"], default="npz", help="files of PNG, or bare pixels")
    parser.add_argument("--most-mb", type=int, default=1024)
    typed = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = models.DCGANConfig(image_size=typed.side, latent_size=8, width=2)
        models.save(folder / "small.safetensors", config.parts(), models.metadata_of(config))
        with running(Server("ours", OURS, {}), folder) as port:
            found = measured(f"http://127.0.0.1:{port}", {"n": typed.images, "seed": 1, "output": typed.output})
    print(json.dumps(found, indent=2))
    return 0 if found["most MB"] <= typed.most_mb else 1


def measured(url: str, body: dict[str, object]) -> dict[str, float]:
    requests.post(f"{url}/v1/sample", json={"n": 64}, timeout=300).raise_for_status()
    peak, began = Peak(), time.monotonic()
    job = requests.post(f"{url}/v1/jobs/sample", json=body, timeout=60).json()["id"]
    while (view := requests.get(f"{url}/v1/jobs/{job}", timeout=60).json())["state"] in ("queued", "running"):
        time.sleep(0.5)
    if view["state"] != "done":
        raise RuntimeError(f"The job ended otherwise: {view}")
    made, seconds = peak.most_mb(), time.monotonic() - began
    with ThreadPoolExecutor(READERS) as pool:
        sizes = set(pool.map(length, [f"{url}/v1/jobs/{job}/result"] * READERS))
    (size,) = sizes
    figures = {"idle MB": peak.idle_mb, "made MB": made, "most MB": peak.most_mb(), "result MB": size / 1e6}
    return {name: round(value, 1) for name, value in (figures | {"seconds": seconds}).items()}


def length(url: str) -> int:
    """Bytes of what is fetched, which are not kept."""
    with requests.get(url, stream=True, timeout=600) as answer:
        answer.raise_for_status()
        return sum(len(chunk) for chunk in answer.iter_content(CHUNK))


class Peak:
    """The memory of the processes below this one, from now on.

    Attributes:
        idle_mb: the sum of their proportional set sizes now.
    """

    def __init__(self) -> None:
        processes = psutil.Process().children(recursive=True)
        for one in processes:
            Path(f"/proc/{one.pid}/clear_refs").write_text("5")  # the high-water mark starts again
        self.idle_mb = sum(one.memory_full_info().pss for one in processes) / 1e6
        self._resident = {one.pid: one.memory_info().rss for one in processes}

    def most_mb(self) -> float:
        """That, and the most that each has grown by since."""
        grown = 0
        for one in psutil.Process().children(recursive=True):
            status = Path(f"/proc/{one.pid}/status").read_text()
            grown += int(status.partition("VmHWM:")[2].split()[0]) * 1024 - self._resident.get(one.pid, 0)
        return self.idle_mb + grown / 1e6


if __name__ == "__main__":
    sys.exit(main())

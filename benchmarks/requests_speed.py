"""Requests a second and latency of the service on its shipped models, batched against unbatched.

    python -m benchmarks.requests_speed         a minute or two on 2 cores; prints a Markdown table

`/v1/sample` with n = 1 and n = 16 (cifar10-dcgan, PNG; a zip for 16) and `/v1/translate` of one 256 px photo
(horse2zebra), for 1 and 32 clients. Unbatched is the same service with GAN_MAX_BATCH=1.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.load import Target, measure
from benchmarks.serve_speed import OURS, ROOT, Server, running

SECONDS = 4.0
PHOTO = ROOT / "tests" / "fixtures" / "horse2zebra" / "testA"


def targets(port: int) -> dict[str, Target]:
    """What is asked, by the name of its row."""
    photo = sorted(PHOTO.iterdir())[0].read_bytes()
    form = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n' + photo + b"\r\n--b--\r\n"

    def sample(n: int) -> Callable[[int], bytes]:
        return lambda index: json.dumps({"n": n, "seed": 16 * index}).encode()

    return {
        "sample, n = 1": Target(port, "/v1/sample", "application/json", sample(1)),
        "sample, n = 16": Target(port, "/v1/sample", "application/json", sample(16)),
        "translate, 256 px": Target(port, "/v1/translate", "multipart/form-data; boundary=b", lambda _: form),
    }


def main() -> None:
    print("| | clients | requests/s | p50 ms | p95 ms |\n| --- | --- | --- | --- | --- |")
    ways: dict[str, dict[str, str]] = {"batched": {}, "unbatched": {"GAN_MAX_BATCH": "1"}}
    with tempfile.TemporaryDirectory() as folder:  # the server writes beside its models
        for file in (ROOT / "models" / "pretrained").glob("*.safetensors"):
            shutil.copy(file, folder)
        for name, environment in ways.items():
            with running(Server(name, OURS, environment), Path(folder)) as port:
                for row, target in targets(port).items():
                    measure(target, 1, 1.0)  # to warm up
                    for clients in (1, 32):
                        got = measure(target, clients, SECONDS)
                        figures = f"{got.rate:.1f} | {got.p50_ms:.0f} | {got.p95_ms:.0f}"
                        print(f"| {row}, {name} | {clients} | {figures} |", flush=True)


if __name__ == "__main__":
    main()

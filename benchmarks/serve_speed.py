"""How fast the service answers, side by side with the same model behind other servers, in one run.

    python -m benchmarks.serve_speed                    some 10 minutes on 2 cores; prints tables and one JSON line
    python -m benchmarks.serve_speed --quick            some 5 minutes, for a look
    python -m benchmarks.serve_speed --part translate   one part: sample, n16, translate or error

Measured over HTTP, by a client that costs little (load.py): /v1/sample with n = 1 (DCGAN 64 px, width 64, PNG) for 1,
16 and 32 clients; a lone client's latency before and right after a burst of 64; n = 16 against the raw forward pass
plus encoding; /v1/translate at 256 px (ResNet, 9 blocks, width 64) against the raw engines, torch, ONNX Runtime and
OpenVINO. All of it in float32 and, where the processor has instructions for it, in bfloat16, the other servers too.
Networks have random weights: speed does not depend on them. The pixel error is that of the shipped models.
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import requests
import torch
from PIL import Image

import metrics
import models
from benchmarks.load import Figures, Target, measure, upload
from models.precision import Precision
from service.encoding import pictures
from service.engine.prepare import prepare

ROOT = Path(__file__).resolve().parents[1]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
# What this processor has instructions for: elsewhere bfloat16 is emulated, and many times slower.
NATIVE = PRECISIONS if torch.cpu._is_avx512_bf16_supported() else PRECISIONS[:1]
OURS = ("-m", "bentoml", "serve", "service.app:GanService", "--port")


@dataclasses.dataclass(frozen=True)
class Server:
    """One way to serve; `command` gets the port as its last word."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    path: str = "/v1/sample"
    ready: str = "/readyz"
    body: Callable[[int], bytes] = lambda index: json.dumps({"model": "dcgan", "seed": index}).encode()


def make_checkpoints(folder: Path) -> None:
    """`dcgan` (3.6 M parameters) and `horse` (2 x 11.4 M), random weights."""
    torch.manual_seed(0)
    sampler = models.DCGANConfig(image_size=64, width=64)
    models.save(folder / "dcgan.safetensors", sampler.parts(), models.metadata_of(sampler))
    translator = models.ResNetConfig(width=64, blocks=9)
    metadata = models.metadata_of(translator, domains=("horse", "zebra"))
    models.save(folder / "horse.safetensors", translator.parts(), metadata)


def servers(folder: Path, precision: Precision) -> list[Server]:
    """Ours and the others, all of which compute in `precision`."""
    ours = {"GAN_PRECISION": precision}
    peer = {"PEER_CHECKPOINT": str(folder / "dcgan.safetensors"), "PEER_PRECISION": precision}
    peers = ("-m", "benchmarks.serve_peers")
    seed = lambda index: json.dumps({"seed": index}).encode()  # noqa: E731
    seeds = lambda index: json.dumps({"seeds": [index]}).encode()  # noqa: E731
    batchable = ("-m", "bentoml", "serve", "benchmarks.serve_peers:Batchable", "--port")
    return [
        Server("ours", OURS, ours),
        Server("ours, unbatched", OURS, {**ours, "GAN_MAX_BATCH": "1"}),
        Server("FastAPI", (*peers, "fastapi"), peer, "/sample", "/docs", seed),
        Server("LitServe", (*peers, "litserve"), peer, "/sample", "/health", seed),
        Server("BentoML batchable", batchable, peer, "/sample", "/readyz", seeds),
    ]


@contextlib.contextmanager
def running(server: Server, folder: Path) -> Iterator[int]:
    """The server in a process group of its own; gives its port when it is ready."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GAN_", "PROMETHEUS"))}
    environment |= {
        "OMP_NUM_THREADS": "1",
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(folder / "home"),
        "GAN_MODELS": str(folder),
        "GAN_STORE": str(folder / "store"),
        "GAN_DEADLINE_S": "120",
        **server.environment,
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *server.command, str(port)],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + 400  # against hanging alone
        while True:
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"http://127.0.0.1:{port}{server.ready}", timeout=2).ok:
                    break
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{server.name} did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):  # LitServe's workers outlive it, and would slow down the others
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def sample_speed(folder: Path, seconds: float, precision: Precision) -> dict[str, dict[str, Figures]]:
    """Figures by server, then by "1", "16", "32" clients and "after": one client right after a burst of 64."""
    table: dict[str, dict[str, Figures]] = {}
    print(f"{f'/v1/sample, {precision}':26s}  clients   images/s    p50 ms    p95 ms")
    for server in servers(folder, precision):
        with running(server, folder) as port:
            target = Target(port, server.path, "application/json", server.body)
            measure(target, 4, 2, most=200)
            rows = {str(clients): measure(target, clients, seconds) for clients in (1, 16, 32)}
            measure(target, 64, seconds, most=1000)
            rows["after"] = measure(target, 1, seconds, most=100)
        table[server.name] = rows
        for name, row in rows.items():
            print(f"{server.name:26s} {name:>8s} {row.rate:10.1f} {row.p50_ms:9.1f} {row.p95_ms:9.1f}", flush=True)
            if row.errors:
                print(f"{server.name:26s} {name:>8s} {row.errors} errors of {row.count}")
    return table


def grid_speed(folder: Path, seconds: float, precision: Precision) -> dict[str, float]:
    """Images/s of n = 16 as a zip for 4 clients, and of the raw forward pass plus encoding, in this process."""
    body = lambda index: json.dumps({"model": "dcgan", "seed": 16 * index, "n": 16}).encode()  # noqa: E731
    with running(Server("ours", OURS, {"GAN_PRECISION": precision}), folder) as port:
        target = Target(port, "/v1/sample", "application/json", body)
        measure(target, 2, 1)
        lone, four = measure(target, 1, seconds), measure(target, 4, seconds)
    network = prepare(models.load(folder / "dcgan.safetensors", models.Generator), precision)

    def raw() -> None:
        pixels = models.to_uint8(network(models.draw(list(range(16)), network.latent_size)))
        for one in pixels:
            pictures.encode(one, "png")

    return {
        "served_1_client": 16 * lone.rate,
        "served_4_clients": 16 * four.rate,
        "raw": 16 * per_second(raw, seconds),
        "p95_ms": four.p95_ms,
    }


def translate_speed(folder: Path, seconds: float) -> dict[str, float]:
    """Images/s at 256 px: served with 1 and 32 clients, and the engines alone, one image after the other; all cores."""
    cores = os.cpu_count() or 1
    torch.set_num_threads(cores)
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    photo = np.array(Image.fromarray(noise).resize((256, 256), Image.Resampling.BICUBIC))
    file = models.encode(photo, "jpeg")
    figures: dict[str, float] = {}
    for engine, precision in itertools.product(("torch", "openvino"), NATIVE):
        environment = {
            "GAN_TRANSLATE_ENGINE": engine,
            "GAN_PRECISION": precision,
            "GAN_TRANSLATE_THREADS": str(cores),
        }
        with running(Server("ours", OURS, environment), folder) as port:
            target = upload(port, "/v1/translate", file)
            measure(target, 1, 2)
            figures[f"served {engine} {precision}, 1 client"] = measure(target, 1, seconds).rate
            figures[f"served {engine} {precision}, 32 clients"] = measure(target, 32, 2 * seconds).rate
    images = models.to_float(photo[None])
    plain = models.load(folder / "horse.safetensors", models.Translator)
    figures["raw torch eager"] = per_second(lambda: plain(images, "a_to_b"), seconds)
    for precision in NATIVE:
        ready = prepare(models.load(folder / "horse.safetensors", models.Translator), precision)
        inputs = images.contiguous(memory_format=torch.channels_last)
        figures[f"raw {precision}"] = per_second(lambda: ready(inputs, "a_to_b"), seconds)  # noqa: B023
    network = plain.parts["a_to_b"]
    last = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.inference_mode():
        figures["raw torch channels-last"] = per_second(lambda: last(inputs), seconds)
    onnx = onnx_session(network, images, folder / "horse.onnx", cores)
    figures["raw ONNX Runtime float32"] = per_second(lambda: onnx(images), seconds)
    for precision in NATIVE:
        openvino = metrics.compile_openvino(network, images, precision, any_size=True)
        figures[f"raw OpenVINO {precision}"] = per_second(lambda: openvino(images), seconds)  # noqa: B023
    return figures


def onnx_session(
    network: torch.nn.Module, example: torch.Tensor, file: Path, cores: int
) -> Callable[[torch.Tensor], object]:
    """The network in ONNX Runtime."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter
        torch.onnx.export(network, (example,), file, input_names=["images"], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores
    session = onnxruntime.InferenceSession(file, options)
    return lambda images: session.run(None, {"images": images.numpy()})


def per_second(work: Callable[[], object], seconds: float) -> float:
    """Calls a second of `work`, after one to warm up."""
    work()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        work()
        count += 1
    return count / (time.perf_counter() - start)


def pixel_error(path: Path, precision: Precision) -> dict[str, float]:
    """As served, against torch's own layers in float32; levels of 255: mean and largest difference."""
    exact, rounded = models.load(path), prepare(models.load(path), precision)
    if exact.latent_size is not None:
        latents = models.draw(list(range(64)), exact.latent_size)
        classes = torch.arange(64) % len(exact.classes) if exact.classes else None
        pair = [models.to_uint8(one(latents, classes)).astype(int) for one in (exact, rounded)]  # type: ignore
    else:
        photos = sorted((ROOT / "tests/fixtures/horse2zebra/testA").iterdir())[:8]
        images = models.to_float(np.stack([models.as_pixels(models.decode(photo)) for photo in photos]))
        pair = [models.to_uint8(one(images, "a_to_b")).astype(int) for one in (exact, rounded)]  # type: ignore
    difference = np.abs(pair[0] - pair[1])
    return {"mean": float(difference.mean()), "largest": float(difference.max())}


def verdicts(table: dict[str, dict[str, Figures]]) -> dict[str, float]:
    """The ratios that matter, each ours over theirs at 32 clients."""
    ours = table["ours"]
    busy = {name: rows["32"] for name, rows in table.items()}
    return {
        "throughput / own unbatched": busy["ours"].rate / busy["ours, unbatched"].rate,
        "p95 / own unbatched": busy["ours"].p95_ms / busy["ours, unbatched"].p95_ms,
        "throughput / FastAPI": busy["ours"].rate / busy["FastAPI"].rate,
        "throughput / LitServe": busy["ours"].rate / busy["LitServe"].rate,
        "throughput / BentoML batchable": busy["ours"].rate / busy["BentoML batchable"].rate,
        "lone p50 after a burst / before": ours["after"].p50_ms / ours["1"].p50_ms,
        "lone p50 after a burst / BentoML batchable's": ours["after"].p50_ms
        / table["BentoML batchable"]["after"].p50_ms,
    }


PARTS = ("sample", "n16", "translate", "error")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--part", action="append", choices=PARTS, help="may be repeated; by default all")
    arguments = parser.parse_args()
    parts = arguments.part or PARTS
    seconds = 1.0 if arguments.quick else 5.0
    torch.set_num_threads(1)
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_checkpoints(folder)
        if "sample" in parts:
            tables = {precision: sample_speed(folder, seconds, precision) for precision in NATIVE}
            result["sample"] = {
                precision: {name: {clients: vars(f) for clients, f in rows.items()} for name, rows in table.items()}
                for precision, table in tables.items()
            }
            result["ratios"] = {precision: verdicts(table) for precision, table in tables.items()}
        if "n16" in parts:
            result["n16"] = {precision: grid_speed(folder, seconds, precision) for precision in NATIVE}
        if "translate" in parts:
            result["translate"] = translate_speed(folder, 2 * seconds)
    if "error" in parts:
        shipped = sorted((ROOT / "models" / "pretrained").glob("*.safetensors"))
        result["error"] = {
            f"{path.stem}, {precision}": pixel_error(path, precision) for path in shipped for precision in PRECISIONS
        }
    for part in result.keys() - {"sample"}:
        print(part, json.dumps(result[part], indent=2))
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""Networks through OpenVINO: the same numbers as torch's, any batch, and a sentence where it cannot be had."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import metrics
from metrics import command
from metrics.extraction import extractor
from metrics.network.weights import Weights
from models import InputError

ROOT = Path(metrics.__file__).parents[1]


class Paired(nn.Module):
    """Two inputs, as a conditional generator has."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(3, 4)
        self.convolution = nn.Conv2d(2, 4, 3, padding=1)

    def forward(self, images: Tensor, classes: Tensor) -> Tensor:
        return self.convolution(images) * self.embedding(classes)[:, :, None, None]


@pytest.fixture
def paired() -> Paired:
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    return Paired().eval().requires_grad_(False)


def inputs(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    return torch.randn(n, 2, 8, 6, generator=generator), torch.arange(n) % 3


@pytest.mark.parametrize("streams", [1, 3])
def test_a_compiled_network_computes_the_same_for_any_batch(paired: Paired, streams: int) -> None:
    """Of 1, 5, 4 and 2 images 3 streams get one part alone, 2 2 1, 2 2 and 1 1."""
    run = metrics.compile_openvino(paired, inputs(2), streams=streams)
    kept = []
    for n in (1, 5, 4, 2):
        found = run(*inputs(n))
        kept.append((found, found.clone()))
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, paired(*inputs(n)), rtol=1e-5, atol=1e-5)
    assert all(torch.equal(found, copy) for found, copy in kept), "a later call wrote into an earlier result"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux tells which cores a thread may use")
def test_the_caller_is_not_tied_to_a_core(paired: Paired, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO pins its threads while they compute, the caller's among them, unless told not to: several workers of a
    service would all sit on the first core."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    network = nn.Sequential(*(nn.Conv2d(32, 32, 3, padding=1) for _ in range(4))).eval()
    images = torch.zeros(4, 32, 64, 64)
    run = metrics.compile_openvino(network, images)
    caller, allowed, done = threading.get_native_id(), os.sched_getaffinity(0), threading.Event()
    seen = set()

    def watch() -> None:
        while True:
            seen.add(frozenset(os.sched_getaffinity(caller)))
            if done.is_set():
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(20):
            run(images)
    finally:
        done.set()
        watcher.join()
    assert seen == {frozenset(allowed)}


def test_inputs_need_not_be_contiguous(paired: Paired) -> None:
    run = metrics.compile_openvino(paired, inputs(1))
    images, classes = inputs(3)
    found = run(images.contiguous(memory_format=torch.channels_last), classes)
    torch.testing.assert_close(found, paired(images, classes), rtol=1e-5, atol=1e-5)


def test_a_precision_that_the_cpu_lacks_is_refused_not_replaced(
    paired: Paired, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On CPUs without bfloat16 OpenVINO takes float32 without a word; here on any CPU."""
    metrics.compile_openvino(paired, inputs(1))
    import openvino  # not before: see `test_openvino_does_not_report_its_use`

    core = openvino.Core()

    class Plain:
        def compile_model(self, model: object, device: str, options: dict[str, object]) -> object:
            return core.compile_model(model, device, options | {"INFERENCE_PRECISION_HINT": "f32"})

    monkeypatch.setattr(openvino, "Core", Plain)
    with pytest.raises(InputError, match=r"OpenVINO computes in f32 on this CPU, not in bfloat16"):
        metrics.compile_openvino(paired, inputs(1), "bfloat16")
    metrics.compile_openvino(paired, inputs(1), "float32")


def test_bfloat16_is_near_where_the_cpu_has_it(paired: Paired) -> None:
    metrics.compile_openvino(paired, inputs(1))
    import openvino  # not before: see `test_openvino_does_not_report_its_use`

    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU does not compute in bfloat16")
    found = metrics.compile_openvino(paired, inputs(1), "bfloat16")(*inputs(4))
    torch.testing.assert_close(found, paired(*inputs(4)), rtol=0.05, atol=0.05)


def test_an_unknown_precision_is_named(paired: Paired) -> None:
    with pytest.raises(InputError, match="float32 or bfloat16"):
        metrics.compile_openvino(paired, inputs(1), "int8")


def test_openvino_does_not_report_its_use(paired: Paired) -> None:
    """In a process of its own, where nobody imported OpenVINO before; and who wants its telemetry can import it."""
    code = (
        "import socket, torch, metrics, openvino_telemetry\n"
        "def refuse(*_arguments, **_named): raise AssertionError('it was asked to report')\n"
        "openvino_telemetry.Telemetry = socket.socket.connect = refuse\n"
        "metrics.compile_openvino(torch.nn.ReLU(), torch.zeros(1, 2))\n"
        "import openvino_telemetry as again\n"
        "assert again is openvino_telemetry"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_without_openvino_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match="pip install openvino"):
        metrics.compile_openvino(Paired(), inputs(1))


@pytest.mark.parametrize(("threads", "streams", "batch"), [(1, 1, 8), (2, 2, 8), (5, 5, 20), (64, 16, 64)])
def test_the_extractor_computes_four_images_on_every_thread(
    threads: int, streams: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}
    monkeypatch.setattr(extractor.weights, "load", lambda _path: Weights({}, Path("w.safetensors")))
    monkeypatch.setattr(extractor.inception, "build", lambda _tensors: None)
    monkeypatch.setattr(extractor.openvino_backend, "compile_network", lambda *_given, **named: asked.update(named))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert metrics.extractor(backend="openvino").batch_size == batch
    assert asked == {"streams": streams}
    assert metrics.extractor(backend="openvino", batch_size=3).batch_size == 3


def test_the_command_line_hands_its_choices_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def spy(weights: object, **named: object) -> None:
        asked.update(named, weights=weights)
        raise InputError("seen")

    monkeypatch.setattr(command, "extractor", spy)
    chosen = {"precision": "bfloat16", "backend": "openvino", "device": "cpu", "batch_size": 3, "weights": "w.pth"}
    flags = [part for name, value in chosen.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    assert command.main(["stats", "folder", "out.npz", *flags]) == 2
    assert asked == chosen

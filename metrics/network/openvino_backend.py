"""A network through OpenVINO: an optional extra, faster than torch on CPUs.

`pip install openvino`, then `metrics.extractor(backend="openvino")`, `--backend openvino`, or `compile_openvino` for a
network of your own. At float32 it agrees with torch to rounding (Inception features to 1e-5), so scores compare and
the extractor's name stays. docs/metrics.md has the measured speed of both.
"""

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from models import InputError

_HINTS = {"float32": "f32", "bfloat16": "bf16"}


def compile_network(
    network: nn.Module,
    example: Tensor | tuple[Tensor, ...],
    precision: str = "float32",
    *,
    any_size: bool = False,
    streams: int = 1,
) -> Callable[..., Tensor]:
    """`network` compiled for this CPU, as a function of the same tensors with any batch size.

    Args:
        network: float32, in eval mode, with one tensor as its result.
        example: inputs to trace it with. Their first dimension is the batch and stays free; the others are fixed.
        precision: "float32", or "bfloat16" on CPUs that compute in it.
        any_size: the last two dimensions of images [n, c, h, w] stay free too, where the network takes any.
        streams: parts of a batch computed at once, each by its share of the threads and in buffers of its own. With
            one thread a part no thread waits for another after every layer.
    Returns:
        A function of float32 (or integer) tensors on the CPU, one call at a time: its buffers are reused. It
        uses as many threads as torch did when it was compiled.
    Raises:
        InputError: OpenVINO is not installed, the precision is unknown, or this CPU would not compute in it.
    """
    if precision not in _HINTS:
        raise InputError(f"Unknown precision {precision!r}: use {' or '.join(_HINTS)}.", where="precision")
    try:
        with _absent("openvino_telemetry"):  # or the import reports itself to its vendor; without, it has a stub
            openvino = importlib.import_module("openvino")
    except ImportError as error:
        raise InputError(
            "The openvino backend needs the package openvino: pip install openvino, or use the torch backend.",
            where="backend",
        ) from error
    examples = example if isinstance(example, tuple) else (example,)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of torch's tracer, which OpenVINO reads from
        traced = torch.jit.trace(network, examples, check_trace=False)
        free = (2, 3) if any_size else ()
        shapes = [[-1, *(-1 if i in free else size for i, size in enumerate(t.shape[1:], 1))] for t in examples]
        model = openvino.convert_model(traced, input=shapes)
    options = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": streams,
        "ENABLE_CPU_PINNING": False,  # it would tie the caller's thread, in every process to the same cores
    }
    compiled = openvino.Core().compile_model(model, "CPU", options)
    chosen = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if chosen != _HINTS[precision]:  # without a word it takes float32 where the CPU has nothing better
        raise InputError(
            f"OpenVINO computes in {chosen} on this CPU, not in {precision}, which it has no instructions for: use "
            "float32.",
            where="precision",
        )
    requests = [compiled.create_infer_request() for _ in range(streams)]

    def run(*inputs: Tensor) -> Tensor:
        parts = list(zip(*(tensor.contiguous().chunk(streams) for tensor in inputs), strict=True))
        used = requests[: len(parts)]  # fewer images than streams make fewer parts
        for request, part in zip(used, parts, strict=True):
            request.start_async([tensor.numpy() for tensor in part], share_inputs=True)
        for request in used:
            request.wait()
        # a copy: the next call writes into the same buffers
        return torch.cat([torch.from_numpy(request.get_output_tensor().data) for request in used])

    return run


@contextmanager
def _absent(package: str) -> Iterator[None]:
    """Imports go as if the package were not installed; afterwards it is as it was."""
    before = {package: sys.modules[package]} if package in sys.modules else {}
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]
        sys.modules.update(before)

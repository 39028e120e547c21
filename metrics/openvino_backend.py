"""The Inception through OpenVINO: an optional extra, for scores on Intel and AMD CPUs.

`pip install openvino`, then `metrics.extractor(backend="openvino")` or `--backend openvino`. The same weights and the
same network; features at float32 agree with torch's to 1e-5, so scores compare and the extractor's name stays.
docs/metrics.md has the measured speed of both.
"""

import importlib
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from metrics.inception import SIDE, Inception
from models import InputError

_HINTS = {"float32": "f32", "bfloat16": "bf16"}


def compiled(network: Inception, precision: str) -> Callable[[Tensor], Tensor]:
    """`network` (float32) compiled for this CPU: images float32 [n, 3, 299, 299] -> features float32 [n, 2048].

    Args:
        precision: "float32" or "bfloat16".
    Raises:
        InputError: OpenVINO is not installed.
    """
    try:
        openvino = importlib.import_module("openvino")
    except ImportError as error:
        raise InputError(
            "The openvino backend needs the package openvino: pip install openvino, or use the torch backend.",
            where="backend",
        ) from error
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of torch's tracer, which OpenVINO drives
        model = openvino.convert_model(network, example_input=torch.zeros(1, 3, SIDE, SIDE), input=[-1, 3, SIDE, SIDE])
    options = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    run = openvino.Core().compile_model(model, "CPU", options)

    def features(images: Tensor) -> Tensor:
        return torch.from_numpy(run(images.contiguous().numpy())[0].copy())  # its output is reused by the next call

    return features

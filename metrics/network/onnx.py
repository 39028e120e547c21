"""Networks as ONNX files, run by ONNX Runtime: an optional extra (`pip install onnxruntime`)."""

import os
from typing import Any

import torch

from models import InputError


def onnx_session(data: bytes, name: str) -> Any:
    """An `onnxruntime.InferenceSession` of a whole file, on the CPU, with as many threads as torch has.

    Args:
        name: what to call the file in errors.
    Raises:
        InputError: ONNX Runtime is not installed, or cannot run the file.
    """
    # ONNX Runtime would keep an identity of this machine and report its use, from its import on
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime  # type: ignore[import-untyped]  # here, since it is an extra
    except ImportError as error:
        raise InputError(
            f"{name} needs the package onnxruntime: pip install onnxruntime.", where="onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what is wrong is said below
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # each kind of fault has a class of its own, without a common one
        raise InputError(f"{name} is no network that ONNX Runtime can run: {_said(error)}", where=name) from error


def _said(error: Exception) -> str:
    """The first line of what ONNX Runtime says, without its number and kind."""
    return str(error).strip().partition("\n")[0].rpartition(" : ")[2][:200]

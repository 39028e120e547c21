"""Whether a machine computes faster in bfloat16. On CPUs that cannot be read from their list of instructions.

With AMX bfloat16 multiplies several times as fast as float32, with avx512_bf16 up to twice as fast; but there are Xeons
that list avx512_bf16 and take twice as long with it. So a convolution is timed.
"""

import time
from functools import cache
from typing import Literal

import torch
from torch import nn

Precision = Literal["float32", "bfloat16"]


_ROUNDS = 5
_GAIN = 0.9  # bfloat16 has to be clearly faster, since it is less exact


@cache
def faster_in_bfloat16(device: torch.device) -> bool:
    """Measured once in a process, within some 50 ms; on a GPU, asked of its driver."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # elsewhere bfloat16 is emulated: slower than float32 without a doubt
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() and _times_less()


def _times_less() -> bool:
    """The fastest of several rounds each, in turn, so that other work on the machine meets both."""
    taken = {dtype: seconds(dtype) for dtype in (torch.float32, torch.bfloat16)}  # oneDNN prepares: not counted
    taken = dict.fromkeys(taken, float("inf"))
    for _ in range(_ROUNDS):
        for dtype, least in taken.items():
            taken[dtype] = min(least, seconds(dtype))
    return taken[torch.bfloat16] < _GAIN * taken[torch.float32]


@torch.inference_mode()
def seconds(dtype: torch.dtype) -> float:
    """What a DCGAN discriminator's second layer takes for 32 images: a few milliseconds."""
    layer = nn.Conv2d(64, 128, 4, 2, 1).to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.ones(32, 64, 32, 32, dtype=dtype).to(memory_format=torch.channels_last)
    start = time.perf_counter()
    layer(images)
    return time.perf_counter() - start

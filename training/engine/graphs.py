"""Passes through networks that a GPU replays as CUDA graphs, forward and backward.

Small networks on a fast GPU wait for Python to launch their kernels: a step of a projected discriminator has some
1,700 of them. A graph launches all kernels of a pass at once (docs/speed.md has what that gains).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Pass(nn.Module):
    """A function of tensors that goes through networks; with `graphs`, captured at its first call.

    What is captured holds for tensors of one shape. What one call gives is overwritten by the next, so it is to be
    used up before: a step of training calls each of its passes, takes the gradients, and goes on.

    Args:
        function: tensors to a tensor, or to a tuple of them; once differentiable. What it does besides is done at the
            capture only, but for random numbers of torch's global generator and for buffers, which go on.
        networks: all whose weights take part. Those that are frozen at the first call get no gradient later either.
        graphs: on a GPU, in one process; without it a call is the function's.
    """

    def __init__(self, function: Callable[..., Any], *networks: nn.Module, graphs: bool) -> None:
        super().__init__()
        self.function, self.networks = function, nn.ModuleList(networks)
        self._to_capture = graphs

    def forward(self, *tensors: Tensor) -> Any:
        return self.function(*tensors)

    def __call__(self, *tensors: Tensor) -> Any:
        if self._to_capture:
            self._to_capture = False
            sample = tuple(tensor.detach().clone().requires_grad_(tensor.requires_grad) for tensor in tensors)
            # a capture has a stream of its own, and torch waits where that matters
            torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
            with torch.enable_grad():
                torch.cuda.make_graphed_callables(self, sample)  # takes the place of `forward`
        return super().__call__(*tensors)

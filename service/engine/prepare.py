"""Networks made ready to serve: faster layouts, lower precision on request, and the same pixels in any batch.

"Same seed, same pixels, alone or among others" is the engine's promise, and floating point does not give it for free:
a kernel may sum in another order for another batch size (matrix products do, and some transposed convolutions with
more than one thread). So it is checked, on the device and with the threads that will serve: where a batch gives other
floats than its rows alone, batches of one fixed size are run, and short ones are padded.

Float32 keeps the checkpoint's function, summed in another order: batch norm is folded into the convolution before it,
and on a CPU layers.py has some layers of its own. bfloat16 rounds weights and activations (measured:
benchmarks/serve_speed.py).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import models
from models import Precision
from service.engine.layers import quicken

Network = TypeVar("Network", bound=models.Model)

FIXED = 8  # rows of a batch where batches of different sizes differ


class Rounded(nn.Module):
    """A network that computes in bfloat16, float32 in and out."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner.bfloat16()

    def forward(self, inputs: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        if classes is None:
            return self.inner(inputs.bfloat16()).float()
        weights = classes.bfloat16() if classes.is_floating_point() else classes
        return self.inner(inputs.bfloat16(), weights).float()


def prepare(network: Network, precision: Precision) -> Network:
    """The same network, laid out for speed."""
    return replace(network, parts={name: _prepare(part, precision) for name, part in network.parts.items()})


def _prepare(module: nn.Module, precision: Precision) -> nn.Module:
    fold_batch_norm(module)
    if all(parameter.device.type == "cpu" for parameter in module.parameters()):
        quicken(module, exact=precision == "float32")
    module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    module = Rounded(module) if precision == "bfloat16" else module
    return module.eval().requires_grad_(False)


def fold_batch_norm(module: nn.Module) -> None:
    """Replaces each (transposed) convolution and the batch norm right after it by one convolution, in place."""
    for part in module.modules():
        if not isinstance(part, nn.Sequential):
            continue
        for index in range(len(part) - 1):
            layer, norm = part[index], part[index + 1]
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d):
                transposed = isinstance(layer, nn.ConvTranspose2d)
                part[index] = fuse_conv_bn_eval(layer, norm, transpose=transposed)
                part[index + 1] = nn.Identity()


def same_in_any_batch(forward: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor) -> bool:
    """Whether each of `rows` [n, ...] gives the same floats alone, among 2, 3 and 5, and among all n."""
    alone = torch.cat([forward(row[None]) for row in rows])
    sizes = sorted({size for size in (2, 3, 5, len(rows)) if size <= len(rows)})
    return all(torch.equal(torch.cat([forward(part) for part in rows.split(size)]), alone) for size in sizes)


def in_fixed_batches(forward: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """`forward`, run in batches of exactly FIXED rows: slower alone, and the same floats for a row in any batch."""

    def padded(rows: torch.Tensor) -> torch.Tensor:
        results = []
        for part in rows.split(FIXED):
            missing = FIXED - len(part)
            full = torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing else part
            results.append(forward(full)[: len(part)])
        return torch.cat(results)

    return padded

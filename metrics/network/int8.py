"""The Inception in 8-bit integers, for a quick look: convolutions multiply uint8 activations by int8 weights.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018:
every tensor is an integer times a scale, one scale for a layer's input (all of them are >= 0, so zero is 0) and one for
each channel of its weights. What rounded weights move a channel by on average is taken from its bias again (Nagel et
al., "Data-Free Quantization through Weight Equalization and Bias Correction", 2019, section 4.2).

The network made here computes in float32 what the integers would give. OpenVINO recognises the pattern and computes in
the integers themselves, where it is four times as fast; torch alone is slower than without. The table of inputs' ranges
and biases' corrections lies beside this file, so that int8 is the same everywhere; `benchmarks/int8_table.py` made it.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

TABLE = Path(__file__).with_name("int8.safetensors")
EXACT = "Conv2d_1a_3x3"  # sees images, which are negative too, and has 0.3% of the work

_HEADROOM = 0.8  # of the largest input seen: what is rare is cut off, the rest is rounded less (0.65 to 1 tried)


class Int8Conv(nn.Module):
    """`nn.Conv2d` whose weights and input are rounded to 8 bits: float32 in and out, [n, c, h, w] -> [n, c', h', w'].

    Args:
        conv: the convolution.
        high: inputs are cut off above it; those below 0 too.
        shift: [c'], taken from the output.
    """

    weight: Tensor
    bias: Tensor
    scales: Tensor  # of the weights, [c']
    zeros: Tensor

    def __init__(self, conv: nn.Conv2d, high: float, shift: Tensor) -> None:
        super().__init__()
        assert conv.bias is not None
        self.step = high / 255
        self.stride, self.padding = conv.stride, conv.padding
        self.register_buffer("weight", conv.weight.detach())
        self.register_buffer("bias", conv.bias.detach() - shift)
        self.register_buffer("scales", conv.weight.detach().abs().amax((1, 2, 3)).clamp(min=1e-12) / 127)
        self.register_buffer("zeros", torch.zeros(conv.out_channels, dtype=torch.int32))

    def forward(self, images: Tensor) -> Tensor:
        images = torch.fake_quantize_per_tensor_affine(images, self.step, 0, 0, 255)
        return F.conv2d(images, self.rounded_weight(), self.bias, self.stride, self.padding)

    def rounded_weight(self) -> Tensor:
        """The weights as int8 has them."""
        return torch.fake_quantize_per_channel_affine(self.weight, self.scales, self.zeros, 0, -127, 127)


def quantized(network: nn.Module, table: dict[str, Tensor] | None = None) -> nn.Module:
    """Puts `Int8Conv` in place of every convolution but the first, in place.

    Args:
        network: an `Inception`, float32, as `inception.build` gives it.
        table: as `calibrated` gives it; by default the one that lies here, for the 2015-12-05 weights.
    """
    table = load_file(TABLE) if table is None else table
    for name, conv in _convolutions(network).items():
        _replace(network, name, Int8Conv(conv, float(table[f"{name}.high"]), table[f"{name}.shift"]))
    return network


@torch.inference_mode()
def calibrated(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The table for `quantized`: for each convolution `NAME.high`, a scalar, and `NAME.shift` [c'].

    Args:
        network: as for `quantized`; it is not changed.
        images: float32 [n, 3, 299, 299] in [-1, 1]; 128 take 1.5 GB with their activations.
    """
    table: dict[str, Tensor] = {}

    def watched(name: str, conv: nn.Conv2d) -> RemovableHandle:
        rounded = Int8Conv(conv, 1.0, torch.zeros(conv.out_channels)).rounded_weight() - conv.weight

        def look(_: nn.Module, inputs: tuple[Tensor, ...], __: Tensor) -> None:
            table[f"{name}.high"] = inputs[0].max() * _HEADROOM
            table[f"{name}.shift"] = F.conv2d(inputs[0], rounded, None, conv.stride, conv.padding).mean((0, 2, 3))

        return conv.register_forward_hook(look)

    hooks = [watched(name, conv) for name, conv in _convolutions(network).items()]
    network(images)
    for hook in hooks:
        hook.remove()
    return table


def _convolutions(network: nn.Module) -> dict[str, nn.Conv2d]:
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d) and name != EXACT}


def _replace(network: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, layer)

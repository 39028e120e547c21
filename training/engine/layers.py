"""Layers that give what torch's own give, and are faster in training: no detours to another layout or precision."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from models import use_sample_norms


class ReflectionPad(nn.Module):
    """`nn.ReflectionPad2d` in the precision that images come in: [n, c, h, w] -> [n, c, h + top + bottom, ...].

    On a CPU, autocast takes bf16 images to float32 for it, and the convolution after it takes them back: two copies
    and twice the memory, for values that are only moved.
    """

    def __init__(self, padding: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            return pad(images, self.padding, mode="reflect")


def replace_slow_layers(network: nn.Module) -> nn.Module:
    """Puts `SampleNorm` and `ReflectionPad` in place of torch's, for weights in channels-last layout.

    Names and values in the state dictionary are not touched, so checkpoints are the same either way.

    Args:
        network: changed in place. Instance norms with weights or running statistics stay as they are.
    Returns:
        The network.
    """
    use_sample_norms(network)
    for parent in list(network.modules()):
        for name, layer in parent.named_children():
            if type(layer) is nn.ReflectionPad2d:
                setattr(parent, name, ReflectionPad(layer.padding))
    return network

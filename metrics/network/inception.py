"""The network FID is defined on: TensorFlow's Inception of 2015-12-05, up to its 2048 pooled features.

Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016. Three things make it differ from
torchvision's `inception_v3`: average pools leave the padding out of their count, `Mixed_7c` pools with a maximum
(a slip of the 2015 graph that FID has inherited ever since), and there are 1008 classes.

Built for inference: batch norm is folded into the convolutions (`foreign_weights`), tensors are channels-last, and
the average pool of a block comes after its 1x1 convolution, not before. Both are linear and the pool's weights
sum to 1, so the result is the same to rounding and the pool has a quarter of the channels to read.
Shapes at line ends are for 299-pixel input.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURES = 2048
CLASSES = 1008
SIDE = 299  # pixels of the input


def _conv(inputs: int, outputs: int, kernel: int | tuple[int, int], *, stride: int = 1, same: bool = True) -> nn.Conv2d:
    size = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (size[0] // 2, size[1] // 2) if same else (0, 0)
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=padding)


def _run(x: Tensor, *layers: nn.Module) -> Tensor:
    for layer in layers:
        x = F.relu_(layer(x))
    return x


def _pooled_branch(x: Tensor, projection: nn.Module) -> Tensor:
    return F.relu_(F.avg_pool2d(projection(x), 3, stride=1, padding=1, count_include_pad=False))


class _Block5(nn.Module):
    def __init__(self, inputs: int, pool: int) -> None:
        super().__init__()
        self.branch1x1 = _conv(inputs, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = _conv(inputs, 48, 1), _conv(48, 64, 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _conv(inputs, 64, 1), _conv(64, 96, 3)
        self.branch3x3dbl_3 = _conv(96, 96, 3)
        self.branch_pool = _conv(inputs, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = [
            _run(x, self.branch1x1),
            _run(x, self.branch5x5_1, self.branch5x5_2),
            _run(x, self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3),
            _pooled_branch(x, self.branch_pool),
        ]
        return torch.cat(parts, 1)


class _Block6a(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch3x3 = _conv(288, 384, 3, stride=2, same=False)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _conv(288, 64, 1), _conv(64, 96, 3)
        self.branch3x3dbl_3 = _conv(96, 96, 3, stride=2, same=False)

    def forward(self, x: Tensor) -> Tensor:
        parts = [
            _run(x, self.branch3x3),
            _run(x, self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3),
            F.max_pool2d(x, 3, stride=2),
        ]
        return torch.cat(parts, 1)


class _Block6(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        wide, tall = (1, 7), (7, 1)
        self.branch1x1 = _conv(768, 192, 1)
        self.branch7x7_1, self.branch7x7_2 = _conv(768, width, 1), _conv(width, width, wide)
        self.branch7x7_3 = _conv(width, 192, tall)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = _conv(768, width, 1), _conv(width, width, tall)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = _conv(width, width, wide), _conv(width, width, tall)
        self.branch7x7dbl_5 = _conv(width, 192, wide)
        self.branch_pool = _conv(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = (self.branch7x7dbl_1, self.branch7x7dbl_2, self.branch7x7dbl_3, self.branch7x7dbl_4)
        parts = [
            _run(x, self.branch1x1),
            _run(x, self.branch7x7_1, self.branch7x7_2, self.branch7x7_3),
            _run(x, *double, self.branch7x7dbl_5),
            _pooled_branch(x, self.branch_pool),
        ]
        return torch.cat(parts, 1)


class _Block7a(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = _conv(768, 192, 1), _conv(192, 320, 3, stride=2, same=False)
        self.branch7x7x3_1, self.branch7x7x3_2 = _conv(768, 192, 1), _conv(192, 192, (1, 7))
        self.branch7x7x3_3 = _conv(192, 192, (7, 1))
        self.branch7x7x3_4 = _conv(192, 192, 3, stride=2, same=False)

    def forward(self, x: Tensor) -> Tensor:
        parts = [
            _run(x, self.branch3x3_1, self.branch3x3_2),
            _run(x, self.branch7x7x3_1, self.branch7x7x3_2, self.branch7x7x3_3, self.branch7x7x3_4),
            F.max_pool2d(x, 3, stride=2),
        ]
        return torch.cat(parts, 1)


class _Block7(nn.Module):
    def __init__(self, inputs: int, *, max_pool: bool) -> None:
        super().__init__()
        self.max_pool = max_pool
        self.branch1x1 = _conv(inputs, 320, 1)
        self.branch3x3_1 = _conv(inputs, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = _conv(384, 384, (1, 3)), _conv(384, 384, (3, 1))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _conv(inputs, 448, 1), _conv(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = _conv(384, 384, (1, 3)), _conv(384, 384, (3, 1))
        self.branch_pool = _conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = _run(x, self.branch3x3_1)
        double = _run(x, self.branch3x3dbl_1, self.branch3x3dbl_2)
        if self.max_pool:
            pooled = _run(F.max_pool2d(x, 3, stride=1, padding=1), self.branch_pool)
        else:
            pooled = _pooled_branch(x, self.branch_pool)
        parts = [
            _run(x, self.branch1x1),
            _run(single, self.branch3x3_2a),
            _run(single, self.branch3x3_2b),
            _run(double, self.branch3x3dbl_3a),
            _run(double, self.branch3x3dbl_3b),
            pooled,
        ]
        return torch.cat(parts, 1)


class Inception(nn.Module):
    """Images float32 [n, 3, 299, 299] in [-1, 1] -> features float32 [n, 2048], each >= 0.

    Other sides work too (the network is convolutional), from 75 pixels up.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _conv(3, 32, 3, stride=2, same=False)
        self.Conv2d_2a_3x3 = _conv(32, 32, 3, same=False)
        self.Conv2d_2b_3x3 = _conv(32, 64, 3)
        self.Conv2d_3b_1x1 = _conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _conv(80, 192, 3, same=False)
        self.Mixed_5b = _Block5(192, pool=32)
        self.Mixed_5c = _Block5(256, pool=64)
        self.Mixed_5d = _Block5(288, pool=64)
        self.Mixed_6a = _Block6a()
        self.Mixed_6b = _Block6(128)
        self.Mixed_6c = _Block6(160)
        self.Mixed_6d = _Block6(160)
        self.Mixed_6e = _Block6(192)
        self.Mixed_7a = _Block7a()
        self.Mixed_7b = _Block7(1280, max_pool=False)
        self.Mixed_7c = _Block7(2048, max_pool=True)

    def first_layers(self, images: Tensor) -> list[Tensor]:
        """The activations before each halving of the side but the first: 64, 192 and 288 channels."""
        x = images.to(self.Conv2d_1a_3x3.weight.dtype, memory_format=torch.channels_last)
        first = _run(x, self.Conv2d_1a_3x3, self.Conv2d_2a_3x3, self.Conv2d_2b_3x3)  # [n, 64, 147, 147]
        x = F.max_pool2d(first, 3, stride=2)
        second = _run(x, self.Conv2d_3b_1x1, self.Conv2d_4a_3x3)  # [n, 192, 71, 71]
        x = F.max_pool2d(second, 3, stride=2)
        return [first, second, self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))]  # the last is [n, 288, 35, 35]

    def forward(self, images: Tensor) -> Tensor:
        x = self.Mixed_6a(self.first_layers(images)[-1])  # [n, 768, 17, 17]
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        x = self.Mixed_7a(x)  # [n, 1280, 8, 8]
        x = self.Mixed_7c(self.Mixed_7b(x))  # [n, 2048, 8, 8]
        return x.float().mean((2, 3))


def build(tensors: dict[str, Tensor], *, dtype: torch.dtype = torch.float32) -> Inception:
    """The network over `tensors` (see `foreign_weights.read`), in eval mode, without gradients.

    Args:
        dtype: float32, or bfloat16 for the reduced precision of docs/metrics.md.
    Raises:
        RuntimeError: a tensor is missing or has another shape.
    """
    with torch.device("meta"):  # no random initialisation of 22 million numbers about to be replaced
        network = Inception()
    trunk = {name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")}
    network.load_state_dict(trunk, assign=True)
    return network.to(dtype=dtype, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]

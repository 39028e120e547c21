"""EfficientNet-Lite without its classifier: the fixed eyes of a projected discriminator (`projected.py`).

Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", table 1, in the variant
"Lite" that its authors published for phones: ReLU6 in place of swish, no squeeze-and-excitation. Its weights were
learned on ImageNet with labels (`backbone_weights.py` has where they come from); batch norm is folded into the
convolutions, since nothing here trains.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

STEM = 32  # channels


class Stage(NamedTuple):
    """One row of table 1: `repeats` blocks, of which the first has the stride and changes the channels."""

    kernel: int
    stride: int
    expansion: int
    inputs: int
    outputs: int
    repeats: int


STAGES = (
    Stage(3, 1, 1, 32, 16, 1),
    Stage(3, 2, 6, 16, 24, 2),
    Stage(5, 2, 6, 24, 40, 2),
    Stage(3, 2, 6, 40, 80, 3),
    Stage(5, 1, 6, 80, 112, 3),
    Stage(5, 2, 6, 112, 192, 4),
    Stage(3, 1, 6, 192, 320, 1),
)
TAPS = {1: 24, 2: 40, 4: 112, 6: 320}  # the last stage of each resolution, and its channels


def scaled(width: float, depth: float) -> tuple[Stage, ...]:
    """The stages of a larger network (section 3.3): channels times `width`, to the nearest multiple of 8, and repeats
    times `depth`, rounded up. Of the Lite variants the stem, and how often the first and the last stage are repeated,
    stay as they are."""
    sizes = [*STAGES]
    for number, stage in enumerate(STAGES):
        inputs = stage.inputs if number == 0 else _nearest(stage.inputs * width)
        inner = 0 < number < len(STAGES) - 1
        repeats = math.ceil(stage.repeats * depth) if inner else stage.repeats
        sizes[number] = stage._replace(inputs=inputs, outputs=_nearest(stage.outputs * width), repeats=repeats)
    return tuple(sizes)


def _nearest(channels: float) -> int:
    """A multiple of 8, at most a tenth less than asked for."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


class EfficientNetLite(nn.Module):
    """Images [n, 3, h, w] in [-1, 1] -> activations of four resolutions: sides / 4, 8, 16 and 32, rounded up.

    Of Lite0, whose stages are the default, their channels are the values of `TAPS`: [n, 24, h/4, w/4] to
    [n, 320, h/32, w/32]. Parameters are frozen; gradients pass to the images, once (there is no second derivative).
    """

    def __init__(self, stages: tuple[Stage, ...] = STAGES) -> None:
        super().__init__()
        self.stem = nn.Sequential(SameConv(3, STEM, 3, 2), nn.ReLU6())
        self.stages = nn.ModuleList()
        for kernel, stride, expansion, inputs, outputs, repeats in stages:
            blocks = [_Block(kernel, stride, expansion, inputs, outputs)]
            blocks += [_Block(kernel, 1, expansion, outputs, outputs) for _ in range(repeats - 1)]
            self.stages.append(nn.Sequential(*blocks))
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        activations = self.stem(images)
        taken = []
        for number, stage in enumerate(self.stages):
            activations = stage(activations)
            if number in TAPS:
                taken.append(activations)
        return taken


class _Block(nn.Module):
    """An inverted bottleneck (Sandler et al. 2018, "MobileNetV2", figure 3): expand, depthwise, project."""

    def __init__(self, kernel: int, stride: int, expansion: int, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = nn.Sequential(SameConv(inputs, hidden, 1, 1), nn.ReLU6()) if expansion > 1 else nn.Identity()
        self.depthwise = nn.Sequential(SameConv(hidden, hidden, kernel, stride, groups=hidden), nn.ReLU6())
        self.project = SameConv(hidden, outputs, 1, 1)
        self.skips = stride == 1 and inputs == outputs

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.project(self.depthwise(self.expand(inputs)))
        return inputs + outputs if self.skips else outputs


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": what a stride leaves over goes to the bottom and the right."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=0 if stride > 1 else kernel // 2, groups=groups)

    def forward(self, images: Tensor) -> Tensor:
        stride, kernel = self.stride[0], self.kernel_size[0]
        if stride > 1:
            over = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in images.shape[:1:-1]]
            images = pad(images, [edge for o in over for edge in (o // 2, o - o // 2)])
        if self.groups == 1:
            return super().forward(images)
        convolved: Tensor = _FixedDepthwise.apply(images, self.weight, self.bias, stride, self.padding[0])
        return convolved


class _FixedDepthwise(torch.autograd.Function):
    """A depthwise convolution whose weights are constant. Its gradient is one more forward convolution.

    On a CPU oneDNN has no fast backward for depthwise bf16: the gradient took five times as long as the pass.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.stride, ctx.padding, ctx.sides = stride, padding, images.shape[2:]
        return torch.conv2d(images, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        (weight,) = ctx.saved_tensors
        flipped, padding, kernel = weight.flip(2, 3).to(gradient.dtype), ctx.padding, weight.shape[2]
        if ctx.stride > 1:  # the transposed convolution: between the gradient's values lie stride - 1 zeros
            around, padding = kernel - 1, 0
            shape = (*gradient.shape[:2], *(side + around for side in ctx.sides))
            spread = torch.empty(shape, dtype=gradient.dtype, device=gradient.device, memory_format=_layout(gradient))
            spread.zero_()
            rows, columns = (slice(around, around + ctx.stride * n, ctx.stride) for n in gradient.shape[2:])
            spread[:, :, rows, columns] = gradient
            gradient = spread
        return torch.conv2d(gradient, flipped, None, 1, padding, groups=len(weight)), None, None, None, None


def _layout(maps: Tensor) -> torch.memory_format:
    last = maps.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format

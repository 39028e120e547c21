"""Layers that give what torch's own give, up to rounding, in half the time on a CPU; put in when a model is loaded.

    SampleNorm     of models/: instance norm that keeps the channels-last layout
    Winograd       3 x 3 convolutions by F(4 x 4, 3 x 3) of Lavin and Gray 2016 (arXiv:1509.09308, section 4.3):
                   36 products for 16 pixels, where the definition takes 144
    Projection     DCGAN's first layer, a transposed convolution of one pixel, is a matrix product
    Overlap        a transposed convolution of few pixels with many channels, or to the 1 or 3 of an image: a matrix
                   product, whose patches are summed
    sub_pixel      sub-pixel convolution (Shi et al. 2016): the transposed convolution to an image, as a convolution
                   whose channels are then laid out as pixels; in bfloat16, where Overlap's sums lose digits and time

Winograd's weights take four times the memory, and in bfloat16 its sums would lose too many digits.
"""

import itertools

import torch
from torch import nn

from models import use_sample_norms

_TILE = 4  # pixels of the output that are computed together, along each side
_WIDE = 64  # channels from which on the products outweigh the transforms
_DEEP = 512  # channels from which on the product outweighs the sum of its patches
_FEW = 4  # channels of the output up to which there is little to sum
_SEVERAL = 8  # rows from which on products sum in one order; 4 were enough on every processor that was tried

_INPUT = torch.tensor(
    [
        [4.0, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)  # B^T
_WEIGHT = (
    torch.tensor([[6.0, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64) / 24
)  # G
_OUTPUT = torch.tensor([[1.0, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])  # A^T


class Winograd(nn.Module):
    """`nn.Conv2d` of 3 x 3 pixels without stride or padding, float32: [n, c, h + 2, w + 2] -> [n, c', h, w].

    One image after the other, so that an image's pixels do not depend on its neighbours in the batch.
    """

    weight: torch.Tensor  # [36, c, c']
    bias: torch.Tensor
    before: torch.Tensor  # [36, 36]: both directions at once
    after: torch.Tensor  # [16, 36]

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        weight = torch.einsum("pk,oikl,ql->pqio", _WEIGHT, conv.weight.detach().double(), _WEIGHT)
        self.channels = conv.out_channels
        self.register_buffer("weight", weight.flatten(0, 1).float().contiguous())
        self.register_buffer("bias", _bias(conv))
        self.register_buffer("before", torch.kron(_INPUT, _INPUT))
        self.register_buffer("after", torch.kron(_OUTPUT, _OUTPUT))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[2] - 2, images.shape[3] - 2
        images = nn.functional.pad(images, (0, -width % _TILE, 0, -height % _TILE))
        results = torch.stack([self._one(image) for image in images.permute(0, 2, 3, 1)])
        return results.permute(0, 3, 1, 2)[..., :height, :width]

    def _one(self, image: torch.Tensor) -> torch.Tensor:
        """[4 a + 2, 4 b + 2, c] -> [4 a, 4 b, c']"""
        tiles = image.unfold(0, _TILE + 2, _TILE).unfold(1, _TILE + 2, _TILE)  # [a, b, c, 6, 6]
        down, across, channels = tiles.shape[:3]
        inputs = self.before @ tiles.permute(3, 4, 0, 1, 2).reshape(36, -1)
        products = torch.bmm(inputs.view(36, down * across, channels), self.weight)
        outputs = (self.after @ products.view(36, -1)).view(_TILE, _TILE, down, across, self.channels)
        return outputs.permute(2, 0, 3, 1, 4).reshape(down * _TILE, across * _TILE, self.channels) + self.bias


class Projection(nn.Module):
    """`nn.ConvTranspose2d` of one pixel: [n, c, 1, 1] -> [n, c', k, k] for kernels of k x k."""

    weight: torch.Tensor  # [c, k k c']
    bias: torch.Tensor  # [k k c']

    def __init__(self, conv: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.side, self.channels = conv.kernel_size[0], conv.out_channels
        self.register_buffer("weight", _product_weight(conv))
        self.register_buffer("bias", _bias(conv).repeat(self.side**2))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        rows = pixels.flatten(1)
        # one row (on some processors up to three) would go to another kernel, which sums in another order
        several = nn.functional.pad(rows, (0, 0, 0, max(0, _SEVERAL - len(rows))))
        patches = torch.addmm(self.bias, several, self.weight)[: len(rows)]
        return patches.view(-1, self.side, self.side, self.channels).permute(0, 3, 1, 2)


class Overlap(nn.Module):
    """`nn.ConvTranspose2d` of 4 x 4 pixels with stride 2 and padding 1: [n, c, h, w] -> [n, c', 2 h, 2 w]."""

    weight: torch.Tensor  # [c, 4 4 c']
    bias: torch.Tensor  # [c']

    def __init__(self, conv: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.channels = conv.out_channels
        self.register_buffer("weight", _product_weight(conv))
        self.register_buffer("bias", _bias(conv))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        n, channels, height, width = images.shape
        patches = images.permute(0, 2, 3, 1).reshape(-1, channels) @ self.weight
        # of pixel (i, j), the value of row 2 a + p and column 2 b + q goes to row 2 (i + a) + p, column 2 (j + b) + q
        patches = patches.view(n, height, width, 2, 2, 2, 2, self.channels)  # [n, i, j, a, p, b, q, c']
        sums = patches.new_zeros(n, height + 1, 2, width + 1, 2, self.channels)
        for a, b in itertools.product((0, 1), repeat=2):
            sums[:, a : a + height, :, b : b + width] += patches[:, :, :, a, :, b].transpose(2, 3)
        pixels = sums.view(n, 2 * height + 2, 2 * width + 2, self.channels)[:, 1:-1, 1:-1] + self.bias
        return pixels.permute(0, 3, 1, 2)


def sub_pixel(conv: nn.ConvTranspose2d) -> nn.Sequential:
    """What `Overlap` computes, as a convolution whose 2 x 2 channels are pixels (Shi et al. 2016, arXiv:1609.07009).

    Pixel 2 i + p of a line is the sum of the inputs i - 1, i, i + 1 times the kernel's entries p + 3, p + 1, p - 1, as
    far as they are there: more than half of the convolution's weights are 0.
    """
    kernel = nn.functional.pad(conv.weight.detach(), (1, 1, 1, 1)).unflatten(3, (3, 2)).unflatten(2, (3, 2))
    layer = nn.Conv2d(conv.in_channels, 4 * conv.out_channels, 3, padding=1)
    layer.weight = nn.Parameter(kernel.flip(2, 4).permute(1, 3, 5, 0, 2, 4).flatten(0, 2))  # [c' p q, c, 3, 3]
    layer.bias = nn.Parameter(_bias(conv).repeat_interleave(4))
    return nn.Sequential(layer, nn.PixelShuffle(2))


def _product_weight(conv: nn.ConvTranspose2d) -> torch.Tensor:
    """[c, c', k, k] -> [c, k k c']"""
    return conv.weight.detach().permute(0, 2, 3, 1).flatten(1).contiguous()


def _bias(conv: nn.Conv2d | nn.ConvTranspose2d) -> torch.Tensor:
    return torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()


def quicken(module: nn.Module, *, exact: bool) -> None:
    """Puts the layers named above in place of torch's, in place, where they are faster.

    Args:
        exact: the network computes in float32, not in bfloat16.
    """
    use_sample_norms(module)
    for part in list(module.modules()):
        for name, layer in list(part.named_children()):
            setattr(part, name, _faster(layer, exact))


def _faster(layer: nn.Module, exact: bool) -> nn.Module:
    """What computes the same sooner, or the layer itself."""
    if isinstance(layer, nn.ConvTranspose2d) and (layer.dilation, layer.groups) == ((1, 1), 1):
        shape = (layer.kernel_size, layer.stride, layer.padding, layer.output_padding)
        if shape == ((4, 4), (1, 1), (0, 0), (0, 0)):  # of DCGAN's, which sees one pixel; no other network has one
            return Projection(layer)
        doubles = shape == ((4, 4), (2, 2), (1, 1), (0, 0))
        if doubles and layer.out_channels <= _FEW:
            return Overlap(layer) if exact else sub_pixel(layer)
        if doubles and layer.in_channels >= _DEEP and exact:
            return Overlap(layer)
    if isinstance(layer, nn.Conv2d) and exact:
        shape = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        wide = min(layer.in_channels, layer.out_channels) >= _WIDE
        if shape == ((3, 3), (1, 1), (0, 0), (1, 1)) and layer.groups == 1 and wide:
            return Winograd(layer)
    return layer

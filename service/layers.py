"""Layers that give what torch's own give, up to rounding, in half the time on a CPU; put in when a model is loaded.

    InstanceNorm   torch turns channels-last images into channels-first and back for it; for batch norm it does not,
                   and batch norm of a single image is instance norm
    Winograd       3 x 3 convolutions by F(4 x 4, 3 x 3) of Lavin and Gray 2016 (arXiv:1509.09308, section 4.3):
                   36 products for 16 pixels, where the definition takes 144

Winograd's weights take four times the memory, and in bfloat16 its sums would lose too many digits.
"""

import torch
from torch import nn

from models import use_sample_norms

_TILE = 4  # pixels of the output that are computed together, along each side
_WIDE = 64  # channels from which on the products outweigh the transforms

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
        bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
        self.register_buffer("bias", bias)
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


def quicken(module: nn.Module, *, exact: bool) -> None:
    """Puts the layers named above in place of torch's, in place.

    Args:
        exact: the network computes in float32.
    """
    use_sample_norms(module)
    if not exact:
        return
    for part in list(module.modules()):
        for name, layer in list(part.named_children()):
            if isinstance(layer, nn.Conv2d) and _suits_winograd(layer):
                setattr(part, name, Winograd(layer))


def _suits_winograd(conv: nn.Conv2d) -> bool:
    plain = (conv.kernel_size, conv.stride, conv.dilation, conv.padding) == ((3, 3), (1, 1), (1, 1), (0, 0))
    return plain and conv.groups == 1 and min(conv.in_channels, conv.out_channels) >= _WIDE

"""Self-attention over the places of feature maps, so that what is drawn in one corner can answer to another.

Zhang, Goodfellow, Metaxas, Odena 2019, "Self-Attention Generative Adversarial Networks", section 3, with what the
authors' code adds to it: keys and values are halved in each direction by max pooling.
"""

import torch
from torch import nn
from torch.nn.functional import max_pool2d


class SelfAttention(nn.Module):
    """Maps [n, c, h, w] of even sides -> gamma o + maps, with o [n, c, h, w] what each place gathers from all others.

    With queries and keys of c / 8 channels and values of c / 2, each from a 1 x 1 convolution, place j gathers the sum
    over i of softmax_i(query_j . key_i) value_i (equations 1 and 2). gamma begins at 0, so that a network learns what
    lies near first (equation 3). The product is written out, since penalties differentiate it twice, which fused
    kernels cannot.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        few, half = max(1, channels // 8), max(1, channels // 2)
        self.queries, self.keys = (nn.Conv2d(channels, few, 1, bias=False) for _ in range(2))
        self.values = nn.Conv2d(channels, half, 1, bias=False)
        self.output = nn.Conv2d(half, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        queries = self.queries(maps).flatten(2)  # [n, c / 8, h w]
        keys = max_pool2d(self.keys(maps), 2).flatten(2)  # [n, c / 8, h w / 4]
        values = max_pool2d(self.values(maps), 2).flatten(2)  # [n, c / 2, h w / 4]
        shares = (queries.transpose(1, 2) @ keys).softmax(dim=2)  # [n, h w, h w / 4]
        gathered = (values @ shares.transpose(1, 2)).unflatten(2, maps.shape[2:])
        return self.gamma * self.output(gathered) + maps

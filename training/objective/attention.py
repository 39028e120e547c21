"""What a translator's masks learn from, beside the game itself: little, even, and where a classifier sees the thing.

Masks are [n, 1, h, w] in [0, 1] (`models/networks/attention.py`). Every function returns a scalar tensor through which
gradients flow to the mask, without a weight.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

GRID = 4  # pixels: masks are made at a quarter of the side, and compared there


def sparsity(mask: Tensor) -> Tensor:
    """E[m]: what need not change should not. Tang et al. 2019, "AttentionGAN", equation 8, where it is a sum."""
    return mask.mean()


def edge_aware_variation(mask: Tensor, photo: Tensor) -> Tensor:
    """E[|dm/dx| exp(-s |dI/dx|)] and the same of dy: a mask may change where the photo does.

    Godard et al. 2017, "Unsupervised Monocular Depth Estimation with Left-Right Consistency", equation 3, with s = 4
    for photos in [-1, 1] (theirs are in [0, 1]; |dI/dx| is the mean over the channels).

    Args:
        photo: [n, c, h, w] in [-1, 1].
    """
    mask, photo = avg_pool2d(mask, GRID), avg_pool2d(photo, GRID)
    terms = []
    for axis in (2, 3):
        edges = photo.diff(dim=axis).abs().mean(dim=1, keepdim=True)
        terms.append((mask.diff(dim=axis).abs() * torch.exp(-4 * edges)).mean())
    return terms[0] + terms[1]


def guidance(mask: Tensor, seen: Tensor) -> Tensor:
    """The mean of E[w |m - t|] / E[w] over the thing (w = 2 t - 1) and over the rest (w = 1 - 2 t), w at least 0.

    Here t says where a classifier sees the thing, and w how sure it is of that. Thing and rest count the same, however
    small the thing is. Absolute differences, since what minimises them is a median, which decides; squares would leave
    a grey mean wherever the teacher is divided.

    Args:
        seen: t, [n, 1, h / 4, w / 4] in [0, 1] (`training/networks/activation_map.py`).
    """
    distance = (avg_pool2d(mask, GRID) - seen).abs()
    sides = [sure.clamp(min=0) for sure in (2 * seen - 1, 1 - 2 * seen)]
    thing, rest = ((sure * distance).sum() / sure.sum().clamp(min=1e-6) for sure in sides)
    return (thing + rest) / 2

"""Differentiable augmentation for GANs that have little data.

Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", section 3.2: the same policy is
applied to real and to generated images, in the discriminator's step and in the generator's, and gradients pass
through it. Ranges are those of the authors' code, made for images in [-1, 1].
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from models import InputError
from training.engine.draws import Draws

SHIFT = 1 / 8  # of the image's side, in each direction
HOLE = 1 / 2  # of the image's side


def diff_augment(images: Tensor, policy: Sequence[str], draws: Draws) -> Tensor:
    """Applies each transformation of `policy`, in that order, with its own draw for every image.

    Args:
        images: [n, c, h, w] in [-1, 1], float.
        policy: names out of `POLICIES`: "color" (brightness, saturation, contrast), "translation" (by up to an
            eighth of the side, the rest filled with 0), "cutout" (a square of half the side set to 0).
            Empty: the images come back as they are.
        draws: of what is done to each image.

    Returns:
        [n, c, h, w]; colour may leave [-1, 1], as in the authors' code.

    Raises:
        InputError: an unknown name.
    """
    unknown = [name for name in policy if name not in POLICIES]
    if unknown:
        raise InputError(f"Unknown augmentation {unknown[0]!r}: choose from {', '.join(POLICIES)}.", where="augment")
    for name in policy:
        images = POLICIES[name](images, draws)
    return images


def _color(images: Tensor, draws: Draws) -> Tensor:
    brightness, saturation, contrast = draws.uniform(len(images), 3, 1, 1, 1).to(images).unbind(dim=1)
    images = images + (brightness - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation)
    level = images.mean(dim=(1, 2, 3), keepdim=True)
    return level + (images - level) * (contrast + 0.5)


def _translation(images: Tensor, draws: Draws) -> Tensor:
    n, _, height, width = images.shape
    most = int(height * SHIFT + 0.5), int(width * SHIFT + 0.5)
    down, right = (draws.integers(2 * m + 1, len(images), 1).to(images.device) - m for m in most)
    # a frame of one 0 pixel around the image, which every index outside it is clamped to
    framed = pad(images, (1, 1, 1, 1))
    rows = (torch.arange(height, device=images.device) - down + 1).clamp(0, height + 1)  # [n, h]
    columns = (torch.arange(width, device=images.device) - right + 1).clamp(0, width + 1)  # [n, w]
    sample = torch.arange(n, device=images.device)
    picked = framed.movedim(1, 3)[sample[:, None, None], rows[:, :, None], columns[:, None, :]]  # [n, h, w, c]
    return picked.movedim(3, 1)


def _cutout(images: Tensor, draws: Draws) -> Tensor:
    height, width = images.shape[2:]
    inside = []
    for side in (height, width):
        hole = int(side * HOLE + 0.5)
        # as the authors: the centre may be anywhere, so that part of the hole may lie outside
        first = draws.integers(side + 1 - hole % 2, len(images), 1).to(images.device) - hole // 2
        position = torch.arange(side, device=images.device) - first
        inside.append((position >= 0) & (position < hole))  # [n, side]
    rows, columns = inside
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


POLICIES: dict[str, Callable[[Tensor, Draws], Tensor]] = {
    "color": _color,
    "translation": _translation,
    "cutout": _cutout,
}

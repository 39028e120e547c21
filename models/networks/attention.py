"""Attention of a translator: the generator also gives a mask of what it changes; all else stays as it was.

Mejjati et al. 2018, "Unsupervised Attention-guided Image-to-Image Translation", equation 1; Tang et al. 2019,
"AttentionGAN". With the painted picture p and the mask m, the translation of a photo x is m p + (1 - m) x.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

_STRETCH = 0.1  # by how much the sigmoid goes past 0 and 1 before it is clamped
_SHARPER = 3.0  # how much steeper the sigmoid is where nothing is learned (docs/experiments.md)
_OPEN = 1.0  # the logit that a new mask begins with: 0.78, most of the painting


class MaskHead(nn.Module):
    """Inner maps [n, c, h, w] of a generator -> a mask [n, 1, s h, s w] in [0, 1] that is exactly 0 and 1 at its ends.

    The sigmoid is stretched to [-0.1, 1.1] and clamped (Louizos, Welling, Kingma 2018, "Learning Sparse Neural Networks
    through L0 Regularization", equation 11), since a plain one never reaches 0, and what it leaves there would still
    move the background. Masks learn while they are soft and decide afterwards: outside training their logits count
    thrice. There is no norm: it would need the whole image, and large ones go in tiles.

    Args:
        channels: c.
        width: channels in between.
        scale: s; the logits are enlarged bilinearly.
    """

    def __init__(self, channels: int, width: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        first, second, logits = nn.Conv2d(channels, width, 1), nn.Conv2d(width, width, 3, padding=1), _logits(width)
        for layer in (first, second):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        self.layers = nn.Sequential(first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True), logits)

    def forward(self, maps: Tensor) -> Tensor:
        logits = interpolate(self.layers(maps), scale_factor=self.scale, mode="bilinear", align_corners=False)
        if not self.training:
            logits = _SHARPER * logits
        stretched = torch.sigmoid(logits) * (1 + 2 * _STRETCH) - _STRETCH
        clamped = stretched.clamp(0, 1)
        # straight through (Bengio et al. 2013), since what is clamped would otherwise never come back
        return stretched + (clamped - stretched).detach() if self.training else clamped


def _logits(width: int) -> nn.Conv2d:
    """The last layer, which begins with one logit everywhere.

    It looks at one place, since on a CPU a wider convolution to one channel sums in another order for another number of
    images, and the service would have to run each alone.
    """
    layer = nn.Conv2d(width, 1, 1)
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, _OPEN)  # type: ignore[arg-type]  # it has one
    return layer


def compose(photos: Tensor, painted: Tensor, masks: Tensor) -> Tensor:
    """m p + (1 - m) x, exactly p where m is 1 and exactly x where m is 0.

    Args:
        photos, painted: [n, c, h, w].
        masks: [n, 1, h, w] in [0, 1].
    """
    return torch.lerp(photos, painted.to(photos.dtype), masks.to(photos.dtype))


class Unblended(nn.Module):
    """An attentive generator whose painted picture and mask are not yet one: [n, c, h, w] -> [n, c + 1, h, w].

    The mask is the last channel. One tensor, since engines and processes that train together pass on one.
    """

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, images: Tensor) -> Tensor:
        painted, masks = self.generator.attend(images)  # type: ignore[operator]
        return torch.cat([painted, masks], dim=1)

"""The fixed network of the perceptual terms: the Inception that FID is measured with."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate

import metrics

SMALLEST = 75  # pixels that Inception needs


def inception_features(device: torch.device) -> Callable[[Tensor], Tensor]:
    """Images [n, 1 or 3, h, w] in [-1, 1] -> activations [n, 2048], through which gradients flow to the images.

    Images are taken at their own size, or enlarged to 75 pixels: the activations need to be comparable with each
    other, not with FID's at 299 pixels, which would cost sixteen times as much.

    Raises:
        WeightsUnavailable: Inception's weights are not at hand.
    """
    network = metrics.extractor(device=str(device)).network

    def features(images: Tensor) -> Tensor:
        images = images.expand(-1, 3, -1, -1)
        if min(images.shape[2:]) < SMALLEST:
            images = interpolate(images, size=(SMALLEST, SMALLEST), mode="bilinear", align_corners=False)
        activations: Tensor = network(images)
        return activations

    return features

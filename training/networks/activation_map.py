"""Where a classifier sees a thing: a weak teacher of a translator's masks, which needs no outlines to learn from.

Class activation mapping (Zhou et al. 2016, "Learning Deep Features for Discriminative Localization") finds the thing,
coarsely and its most telling parts alone. A random walk over the photo's places spreads that to what looks the same
(Ahn and Kwak 2018, "Learning Pixel-level Semantic Affinity with Image-level Supervision", section 3.3; here the
affinity is not learned), and Otsu's threshold says what is the thing and what is not.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, conv2d, interpolate, normalize, relu6

from training.networks.backbone import EfficientNetLite
from training.networks.backbone_weights import Classifier

SCALE = 2  # how much a photo is enlarged: the backbone's last map has one place for each 32 pixels of what it sees
COARSE = 8  # pixels between the places that the walk goes to
TAP = 1  # of the backbone's activations, whose likeness the walk goes by: an eighth of the side that it looks at
NARROW = 4.0  # how fast the affinity falls with the squared distance of two places
STEPS = 3  # of the walk
SOFT = 0.25  # how far from the threshold a place is nearly sure, as a share of the map's deviation


class ActivationMap(nn.Module):
    """Photos [n, 3, h, w] in [-1, 1] -> how surely a place shows one of the classes, [n, 1, h/4, w/4] in [0, 1].

    Args:
        backbone, classifier: EfficientNet-Lite0, whole.
        classes: ImageNet's, from 0 to 999.
    """

    features: Tensor
    features_bias: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, backbone: EfficientNetLite, classifier: Classifier, classes: range) -> None:
        super().__init__()
        self.backbone = backbone
        rows = slice(classes.start, classes.stop)
        self.register_buffer("features", classifier.features)
        self.register_buffer("features_bias", classifier.features_bias)
        self.register_buffer("weight", classifier.weight[rows, :, None, None])
        self.register_buffer("bias", classifier.bias[rows])

    @torch.no_grad()
    def forward(self, photos: Tensor) -> Tensor:
        size = photos.shape[2] // COARSE, photos.shape[3] // COARSE
        taken = self.backbone(interpolate(photos, scale_factor=SCALE, mode="bilinear", align_corners=False))
        scores, features = _sized(self._activation(taken[-1]), size), _sized(taken[TAP].float(), size)
        walked = spread(scores, features, adaptive_avg_pool2d(photos, size))
        sure = torch.sigmoid((walked - otsu_threshold(walked)) / (SOFT * walked.std(dim=(1, 2, 3), keepdim=True)))
        return _sized(sure, (photos.shape[2] // 4, photos.shape[3] // 4))

    def _activation(self, maps: Tensor) -> Tensor:
        """Zhou's equation 2 for all classes together: the logarithm of the sum of the exponentials of their logits."""
        features = relu6(conv2d(maps.float(), self.features, self.features_bias))
        logits = conv2d(features, self.weight, self.bias)
        return logits.logsumexp(dim=1, keepdim=True)


def _sized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return interpolate(maps, size=size, mode="bilinear", align_corners=False)


def spread(scores: Tensor, features: Tensor, colours: Tensor) -> Tensor:
    """Scores after a random walk between places that look alike and lie near each other.

    Args:
        scores: [n, 1, h, w].  features: [n, c, h, w].  colours: [n, 3, h, w] in [-1, 1].
    """
    n, _, height, width = scores.shape
    looks = normalize(features - features.mean(dim=(2, 3), keepdim=True), dim=1)
    lines = torch.linspace(0, 1, height, device=scores.device), torch.linspace(0, 1, width, device=scores.device)
    places = torch.stack(torch.meshgrid(*lines, indexing="ij")).expand(n, -1, -1, -1)
    described = torch.cat([looks, colours, places], dim=1).flatten(2).transpose(1, 2)
    affinity = torch.softmax(-NARROW * torch.cdist(described, described).square(), dim=2)
    walked = scores.flatten(2).transpose(1, 2)
    for _ in range(STEPS):
        walked = affinity @ walked
    return walked.transpose(1, 2).view_as(scores)


def otsu_threshold(maps: Tensor) -> Tensor:
    """The value that parts a map's in two with the most variance between them: [n, 1, h, w] -> [n, 1, 1, 1].

    Otsu 1979, "A Threshold Selection Method from Gray-Level Histograms", equation 14, over all values in place of a
    histogram's bins.
    """
    values = maps.flatten(1).double().sort(dim=1).values
    count = values.shape[1]
    below = torch.arange(1, count, device=maps.device)
    sums = values.cumsum(dim=1)
    means = sums[:, :-1] / below, (sums[:, -1:] - sums[:, :-1]) / (count - below)
    best = (below * (count - below) * (means[1] - means[0]).square()).argmax(dim=1, keepdim=True)
    threshold = (values.gather(1, best) + values.gather(1, best + 1)) / 2
    return threshold.to(maps.dtype)[:, :, None, None]

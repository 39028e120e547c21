"""The teacher of masks: what its parts compute, on networks with random weights."""

import numpy as np
import pytest
import torch

from training.networks.activation_map import STEPS, ActivationMap, otsu_threshold, spread
from training.networks.backbone import EfficientNetLite
from training.networks.backbone_weights import Classifier


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(torch.randn(1280, 320, 1, 1), torch.randn(1280), torch.randn(1000, 1280), torch.randn(1000))


def test_a_map_is_in_range_and_a_quarter_of_the_side(classifier: Classifier) -> None:
    torch.manual_seed(0)
    teacher = ActivationMap(EfficientNetLite(), classifier, range(339, 356))
    seen = teacher(torch.rand(2, 3, 64, 96) * 2 - 1)
    assert seen.shape == (2, 1, 16, 24)
    assert seen.min() >= 0
    assert seen.max() <= 1
    assert seen.std() > 0.1  # it parts each photo in two


def test_the_activation_of_a_class_averages_to_its_logit(classifier: Classifier) -> None:
    """Zhou et al. 2016, equation 2: the classifier is linear after the mean, so it may as well come before."""
    teacher = ActivationMap(EfficientNetLite(), classifier, range(7, 8))
    maps = torch.randn(1, 320, 3, 4)
    features = torch.nn.functional.relu6(
        torch.einsum("nchw,dc->ndhw", maps, classifier.features[..., 0, 0]).add(classifier.features_bias[:, None, None])
    )
    logit = features.mean(dim=(2, 3)) @ classifier.weight[7] + classifier.bias[7]
    torch.testing.assert_close(teacher._activation(maps).mean(dim=(2, 3))[0], logit, rtol=1e-4, atol=1e-3)


def test_otsu_parts_two_heaps_between_them() -> None:
    random = np.random.default_rng(0)
    low, high = random.normal(-1, 0.1, 700), random.normal(3, 0.1, 300)
    maps = torch.from_numpy(random.permutation(np.concatenate([low, high]))).reshape(1, 1, 25, 40)
    threshold = float(otsu_threshold(torch.cat([maps, 10 * maps + 5]))[0])
    assert low.max() < threshold < high.min()
    scaled = float(otsu_threshold(torch.cat([maps, 10 * maps + 5]))[1])
    assert scaled == pytest.approx(10 * threshold + 5)


def test_a_walk_stays_among_places_that_look_alike() -> None:
    """A score in one corner of the left half reaches all of that half, and less of the other."""
    features = torch.zeros(1, 2, 8, 8)
    features[:, 0, :, :4], features[:, 1, :, 4:] = 5.0, 5.0
    colours = torch.cat([features[:, :1], features[:, 1:], features[:, 1:]], dim=1) / 5 * 2 - 1
    scores = torch.zeros(1, 1, 8, 8)
    scores[..., 0, 0] = 1
    walked = spread(scores, features, colours)
    assert STEPS >= 2
    assert walked[..., :4].min() > 3 * walked[..., 4:].max()
    torch.testing.assert_close(spread(torch.ones_like(scores), features, colours), torch.ones_like(scores))

"""Where weights begin. A network calls its scheme at the end of its constructor; torch's own needs no call."""

import math

import torch
from torch import nn
from torch.nn.utils import parametrize

from models.networks.spectral import settle_spectral_norm


def initialize_as_dcgan(module: nn.Module) -> None:
    """DCGAN's initialisation, which CycleGAN took over: weights N(0, 0.02), batch norm's gamma N(1, 0.02), biases 0.

    Linear layers (class embeddings) keep torch's own scheme: 0.02 would be far too small for layers that no
    normalisation follows. Under spectral norm the scale of a weight is no part of the function, but of how far a step
    of Adam turns it: from 0.02 the first layers turn too far at each to learn, so those begin as in Glorot and Bengio
    2010, eq. 16 (docs/experiments.md has what that changed). Layers that do not train are left alone.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            if not any(parameter.requires_grad for parameter in layer.parameters()):
                continue
            if parametrize.is_parametrized(layer, "weight"):
                _begin_spectral(layer)
            else:
                nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)


def initialize_as_he(module: nn.Module) -> None:
    """Linear and convolutional layers as He et al. 2015, eq. 10: weights N(0, sqrt(2 / inputs)), biases 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, he_deviation(layer))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def smooth_filters(layer: nn.Linear, shape: tuple[int, int, int], deviation: float) -> None:
    """Blurs the weights that a layer of flattened images begins with, and keeps their scale.

    Weights that are drawn one by one answer to the noise of single pixels as much as to strokes, and a wide layer keeps
    most of what it begins with. Blurred, it begins by calling images near which lie a fraction of a stroke apart.

    Args:
        layer: images, flattened, to units.
        shape: (channels, side, side) of the images.
        deviation: of the Gaussian, in pixels.
    """
    channels, side, _ = shape
    places = torch.arange(float(side))
    gaussian = torch.softmax((places[:, None] - places).square() / (-2 * deviation**2), dim=1)
    filters = layer.weight.detach().view(-1, channels, side, side)
    smooth = gaussian @ filters @ gaussian.T
    with torch.no_grad():
        layer.weight.copy_((smooth * (filters.std() / smooth.std())).flatten(1))


def initialize_orthogonally(module: nn.Module) -> None:
    """Every weight that is a matrix, or a kernel laid out as [out, rest], begins orthogonal; biases 0.

    Saxe, McClelland, Ganguli 2014, section 3; Brock et al. 2019 take it for both of BigGAN's networks. All singular
    values are 1, so that spectral norm begins as it should go on.
    """
    for layer in module.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            if parameter.ndim > 1:
                nn.init.orthogonal_(parameter)
            elif name == "bias":
                nn.init.zeros_(parameter)


def he_deviation(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> float:
    """The deviation that a layer's weights begin with, so that with a rectifier it keeps the scale of a signal."""
    if isinstance(layer, nn.Linear):
        return math.sqrt(2 / layer.in_features)
    inputs = layer.in_channels * math.prod(layer.kernel_size)
    if isinstance(layer, nn.ConvTranspose2d):  # of whose inputs only every stride-th lies under a kernel
        inputs = max(1, inputs // math.prod(layer.stride))
    return math.sqrt(2 / inputs)


def _begin_spectral(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    nn.init.xavier_uniform_(layer.get_parameter("parametrizations.weight.original"))
    settle_spectral_norm(layer)  # the power iteration had settled on other weights

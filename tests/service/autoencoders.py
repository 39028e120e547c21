"""A tiny autoencoder for tests of the service: linear, so that its encoder undoes its generator exactly."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

import models
from models.networks import table
from models.networks.table import architecture

SIDE, CODE, LATENT = 16, 6, 8


class Painter(nn.Module):
    """Codes [n, 6] -> images [n, 3, 16, 16]: a sum of six pictures that are orthogonal, each of length 8."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(CODE, 3 * SIDE * SIDE, bias=False)

    def forward(self, codes: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        return self.linear(codes).view(-1, 3, SIDE, SIDE)


@dataclass(frozen=True)
class MirrorConfig:
    """Latents [n, 8] -> codes [n, 6] -> images, and images -> codes."""

    image_size: ClassVar[int] = SIDE
    channels: ClassVar[int] = 3
    classes: ClassVar[int] = 0
    latent_size: ClassVar[int] = LATENT
    code_size: ClassVar[int] = CODE

    note: str = ""

    def parts(self) -> dict[str, nn.Module]:
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, CODE, bias=False))
        return {"mapping": nn.Linear(LATENT, CODE), "generator": Painter(), "encoder": encoder}


def save_mirror(path: Path, seed: int = 0) -> Path:
    """A checkpoint of kind `mirror`; only `known_mirror` makes that kind known."""
    torch.manual_seed(seed)
    config = MirrorConfig()
    parts = config.parts()
    pictures = torch.linalg.qr(torch.randn(3 * SIDE * SIDE, CODE))[0]
    parts["generator"].linear.weight.data = 8 * pictures
    parts["encoder"][1].weight.data = pictures.T.contiguous() / 8
    models.save(path, parts, models.metadata_of(config))
    return path


@pytest.fixture(scope="module")
def known_mirror() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "_rows", dict(table._rows))
        architecture("mirror", models.Autoencoder)(MirrorConfig)
        yield

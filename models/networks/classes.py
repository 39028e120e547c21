"""How classes reach a generator: as rows of a table, of which a number picks one and weights mix several."""

import torch
from torch import Tensor, nn

from models.errors import InputError


class ClassScale(nn.Module):
    """Feature maps [n, c, h, w] and classes -> (1 + scale) maps + shift, with a scale and a shift [c] for each class.

    Both begin at 0: a network that gets classes begins as the one without them (Dumoulin, Shlens, Kudlur 2017, eq. 5).
    """

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.table = nn.Embedding(classes, 2 * channels)
        nn.init.zeros_(self.table.weight)

    def forward(self, maps: Tensor, classes: Tensor) -> Tensor:
        scale, shift = looked_up(self.table, classes).to(maps.dtype)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, 1 + scale, maps)


def looked_up(table: nn.Embedding, classes: Tensor) -> Tensor:
    """Rows of a table [classes, k]: int64 [n] picks one for each image, float [n, classes] mixes them -> [n, k]"""
    return classes @ table.weight if classes.is_floating_point() else table(classes)


def check_classes(what: str, wanted: int, classes: Tensor | None) -> None:
    """Raises InputError where a network with classes gets none, or one without gets some.

    Args:
        what: "generator" or "discriminator".
        wanted: how many classes the network knows, or 0.
    """
    if wanted == 0 and classes is not None:
        raise InputError(f"This {what} has no classes.", where="class")
    if wanted and classes is None:
        each = "latent" if what == "generator" else "image"
        raise InputError(f"This {what} is class-conditional: give a class for each {each}.", where="class")

"""Masks: what may change in a photo, as a client sends it, and what did, as a client gets it.

Everywhere 255 is all of the change and 0 is none, so that the answer is mask * painted + (1 - mask) * photo.
"""

import numpy as np
import numpy.typing as npt

import models
from models.errors import InputError
from models.images import Pixels
from service.call import File


def read_mask(file: File, most: int) -> Pixels:
    """Decodes a mask of what may change, `most` pixels at most: uint8 [h, w], upright. Colours become grey.

    Raises what `models.decode` does, and InputError for transparency, which could mean either.
    """
    name = file.name[:100]
    image = models.upright(models.decode(file.read(), name=name, max_pixels=most))
    rgb, alpha = models.split_alpha(image)
    if alpha is not None and np.asarray(alpha).min() < 255:
        raise InputError(
            f"{name} is transparent, and a mask is grey: white where the photo may change, black where it stays.",
            where="mask",
        )
    return np.asarray(rgb.convert("L"))


def read_clear_mask(file: File, most: int) -> Pixels:
    """Decodes a mask as OpenAI has it: what is transparent may change. Raises as `read_mask`, and where nothing is."""
    name = file.name[:100]
    image = models.upright(models.decode(file.read(), name=name, max_pixels=most))
    _, alpha = models.split_alpha(image)
    if alpha is None:
        raise InputError(f"{name} has no alpha: what may change is transparent in a mask.", where="mask")
    return 255 - np.asarray(alpha)


def blended(photo: Pixels, translated: Pixels, allowed: Pixels | None, strength: float) -> Pixels:
    """Of the change, what the client's mask and the strength let through; where that is nothing, the photo.

    Args:
        photo, translated: uint8 [h, w, c].  allowed: uint8 [h, w], or None for all of it.
        strength: 0 to 1.
    """
    change = translated.astype(np.float32) - photo
    return np.rint(photo + _weights(allowed, strength)[..., None] * change).astype(np.uint8)


def mask_file(mask: Pixels, allowed: Pixels | None, strength: float) -> bytes:
    """A grey PNG of the network's own mask uint8 [h, w], as far as the client's and the strength let it through."""
    weighted = np.rint(mask * _weights(allowed, strength)).astype(np.uint8)
    return models.encode(weighted[..., None], "png", compression=1)


def _weights(allowed: Pixels | None, strength: float) -> npt.NDArray[np.float32]:
    """Float32 [h, w] in [0, 1], or a single number."""
    share = np.float32(strength)
    return np.asarray(share) if allowed is None else allowed * (share / np.float32(255))

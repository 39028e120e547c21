"""Frames of a translated clip that flicker no more than the clip itself.

A translator sees each frame alone, and its norms look at the whole of it: a horse that moves changes the grass a little
everywhere. So what the translation adds to a pixel, the residual, is kept from the frame before while the pixel itself
stays what it was, and taken anew where it changes (temporal filtering of the residual, as in Lang et al., "Practical
temporal consistency for image-based graphics applications", SIGGRAPH 2012, without its paths of optical flow).
"""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from models.images import Pixels

STILL, MOVED = 6.0, 18.0
"""Levels of 255 by which a pixel's surroundings differ from what they were: up to the first it is still, and its
residual is kept; from the second on it moved, and has the new one; between them, shares of both."""
_AROUND = 2  # pixels: radius of the box that a pixel's difference is averaged over, so that noise alone is no motion


class Steady:
    """Takes the frames of one clip in order, and remembers two of them.

    Differences are taken to the frame that a pixel's residual is from, not to the last one: a slow change adds up until
    it counts, and a residual is never far older than what it is added to.
    """

    def __init__(self) -> None:
        self._from: npt.NDArray[np.float32] | None = None
        self._residual: npt.NDArray[np.float32] | None = None

    def steadied(self, photo: Pixels, translated: Pixels) -> Pixels:
        """uint8 [h, w, c] of a frame and of its translation -> the translation to show, uint8 [h, w, c]."""
        given = photo.astype(np.float32)
        residual = translated - given
        if self._from is not None and self._residual is not None:
            moved = self._moved(given, self._from)
            residual = self._residual + moved * (residual - self._residual)
            self._from = self._from + moved * (given - self._from)
        else:
            self._from = given
        self._residual = residual
        return np.rint(given + residual).clip(0, 255).astype(np.uint8)

    def _moved(self, given: npt.NDArray[np.float32], before: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Float32 [h, w, 1]: 0 where nothing moved, 1 where it did."""
        difference = np.abs(given - before).max(axis=2)
        levels = Image.fromarray(np.rint(difference).astype(np.uint8)).filter(ImageFilter.BoxBlur(_AROUND))
        around = np.asarray(levels, np.float32)
        return ((around - STILL) / (MOVED - STILL)).clip(0, 1)[..., None]

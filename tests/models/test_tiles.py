"""Tiles cover an image, overlap, and leave no trace where they are joined."""

from __future__ import annotations

import itertools

import numpy as np

from models.tiles import OVERLAP, blend, boxes, starts


def test_tiles_cover_a_side_and_overlap() -> None:
    for length in (4, 508, 512, 516, 700, 1024, 1500, 4000):
        begins = starts(length, 512)
        assert begins[0] == 0
        assert begins[-1] == max(0, length - 512)
        assert not any(begin % 4 for begin in begins)
        assert all(later - earlier <= 512 - OVERLAP + 4 for earlier, later in itertools.pairwise(begins))


def test_blending_untouched_tiles_gives_the_image_back() -> None:
    image = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    places = boxes(700, 900, 512)
    parts = [image[y : y + rows, x : x + columns] for y, x, rows, columns in places]
    np.testing.assert_array_equal(blend(parts, places, 700, 900), image)

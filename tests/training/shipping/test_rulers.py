"""The rulers of translators, on pictures whose answer is plain."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models import InputError
from training.networks.backbone import EfficientNetLite, scaled
from training.networks.backbone_weights import LITE2
from training.shipping import rulers


def photo(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(40, 200, (32, 48, 3), dtype=np.uint8)


def outline(columns: int) -> np.ndarray:
    """The left columns are the thing, then four that are neither, then the rest."""
    levels = np.zeros((32, 48), np.uint8)
    levels[:, :columns], levels[:, columns : columns + 4] = 255, 100
    return levels


def test_movement_is_the_mean_difference_outside_and_inside() -> None:
    one, other = photo(), photo()
    other[:, :16] += 30
    other[:, 16:20] += 55  # on the border, which counts for neither
    other[:, 20:] -= 4
    found = rulers.movement([one, one, one], [other, one, other], [outline(16), outline(16), outline(0)])
    assert found.photos == (0, 1)  # nothing was found in the third
    np.testing.assert_allclose(found.outside, [4, 0])
    np.testing.assert_allclose(found.inside, [30, 0])


def test_structure_is_1_for_what_keeps_its_edges_and_0_without_any() -> None:
    one = photo()
    flat = np.full_like(one, 90)
    found = rulers.structure([one] * 4, [one, one // 2 + 20, photo(1), flat])
    assert found[0] == pytest.approx(1)
    assert found[1] > 0.98  # edges of half the height lie where they were
    assert abs(found[2]) < 0.1
    assert found[3] == 0


def test_the_judge_ranks_the_class_of_a_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A photo's mean level is its logit of zebra; two classes are always at 100 and 50."""

    class Told(torch.nn.Module):
        def forward(self, photos: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(len(photos), 1000)
            logits[:, 3], logits[:, 4] = 100, 50
            logits[:, 340] = (photos.mean(dim=(1, 2, 3)) + 1) * 127.5
            return logits

    monkeypatch.setattr(rulers, "_judge", Told)
    levels = [np.full((8, 8, 3), level, np.uint8) for level in (200, 70, 20)]
    assert rulers.ranks(levels, "zebra").tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="'cow': those are horse, zebra"):
        rulers.ranks(levels, "cow")


def test_the_larger_network_has_the_authors_size() -> None:
    """EfficientNet-Lite2 has 6.09 M parameters, 1,280 x 1,000 of them in the classifier (its README)."""
    assert LITE2.stages == scaled(1.1, 1.2)
    network = sum(parameter.numel() for parameter in EfficientNetLite(LITE2.stages).parameters())
    assert network + (LITE2.stages[-1].outputs + 1) * 1280 + (1280 + 1) * 1000 == pytest.approx(6.09e6, rel=0.01)
    assert scaled(1.0, 1.0) == EfficientNetLite.__init__.__defaults__[0]  # type: ignore[index]


def test_an_outline_that_is_missing_is_named(tmp_path: Path) -> None:
    Image.fromarray(outline(8)).save(tmp_path / "a.png")
    (found,) = rulers.read_outlines(tmp_path, ["a.jpg"])
    np.testing.assert_array_equal(found, outline(8))
    with pytest.raises(InputError, match=r"no outline .*b\.png: `python -m training outlines`"):
        rulers.read_outlines(tmp_path, ["a.jpg", "b.jpg"])

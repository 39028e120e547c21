"""The terms of masks, against their formulas."""

import math

import torch
from torch.nn.functional import interpolate

from training.objective.attention import edge_aware_variation, guidance, sparsity


def blocks(rows: list[list[float]]) -> torch.Tensor:
    """[1, 1, 4 h, 4 w]: a mask or a grey photo that is constant in blocks of 4 x 4."""
    return interpolate(torch.tensor([[rows]]), scale_factor=4)


def test_sparsity_is_the_mean() -> None:
    assert sparsity(blocks([[0.0, 1.0], [0.5, 0.5]])) == 0.5


def test_variation_counts_where_the_photo_has_no_edge() -> None:
    mask, flat = blocks([[0.0, 1.0], [0.0, 1.0]]), torch.zeros(1, 3, 8, 8)
    assert edge_aware_variation(mask, flat) == 1  # of every two neighbours in a row; none in a column
    edge = blocks([[-1.0, 1.0], [-1.0, 1.0]]).expand(-1, 3, -1, -1)
    torch.testing.assert_close(edge_aware_variation(mask, edge), torch.tensor(math.exp(-4 * 2)))
    assert edge_aware_variation(torch.full_like(mask, 0.3), flat) == 0


def test_guidance_is_weighted_by_how_sure_the_teacher_is() -> None:
    seen = torch.tensor([[[[1.0, 0.0], [0.5, 0.75]]]])
    mask = blocks([[0.5, 0.5], [0.0, 0.5]])
    thing, rest = (1 * 0.5 + 0.5 * 0.25) / 1.5, 0.5
    expected = (thing + rest) / 2
    torch.testing.assert_close(guidance(mask, seen), torch.tensor(expected))
    assert guidance(mask, torch.full_like(seen, 0.5)) == 0  # a teacher that knows nothing teaches nothing


def test_every_term_teaches_the_mask() -> None:
    mask = torch.rand(2, 1, 16, 16, requires_grad=True)
    photo, seen = torch.rand(2, 3, 16, 16) * 2 - 1, torch.rand(2, 1, 4, 4)
    for term in (sparsity(mask), edge_aware_variation(mask, photo), guidance(mask, seen)):
        (gradient,) = torch.autograd.grad(term, mask)
        assert gradient.abs().sum() > 0

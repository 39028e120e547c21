"""PatchNCE is the softmax cross entropy of the paper, place by place, and knows one image at a time."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from models import InputError
from training.objective.contrastive import patch_nce

SHAPES = [(2, 5, 4), (2, 3, 6)]  # of two layers: images, places, components


def vectors(seed: int) -> list[torch.Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return [normalize(torch.randn(shape, generator=draws, dtype=torch.float64), dim=-1) for shape in SHAPES]


def plainly(queries, keys, temperature):
    """Equation 2 at every place of every image, and its derivative by the query: (sum_t p_t k_t - k_s) / tau."""
    losses, slopes = [], []
    for query, key in zip(queries, keys, strict=True):
        total, slope = 0.0, np.zeros_like(query)
        images, places, _ = query.shape
        for image in range(images):
            for place in range(places):
                exponentials = [np.exp(query[image, place] @ other / temperature) for other in key[image]]
                shares = np.array(exponentials) / sum(exponentials)
                total -= np.log(shares[place])
                slope[image, place] = (shares @ key[image] - key[image, place]) / temperature
        losses.append(total / (images * places))
        slopes.append(slope / (images * places) / len(queries))
    return sum(losses) / len(losses), slopes


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_it_is_the_papers_equation_in_value_and_gradient(temperature):
    queries, keys = vectors(0), vectors(1)
    for one in (*queries, *keys):
        one.requires_grad_()
    loss = patch_nce(queries=queries, keys=keys, temperature=temperature)
    loss.backward()
    expected, slopes = plainly(*([one.detach().numpy() for one in side] for side in (queries, keys)), temperature)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-12)
    for query, slope in zip(queries, slopes, strict=True):
        np.testing.assert_allclose(query.grad.numpy(), slope, rtol=1e-9, atol=1e-12)
    assert all(key.grad is None for key in keys)


def test_negatives_are_other_places_of_the_same_image():
    """So images together come to the mean of each alone."""
    queries, keys = vectors(0), vectors(1)
    alone = [
        patch_nce(queries=[one[[image]] for one in queries], keys=[one[[image]] for one in keys]) for image in (0, 1)
    ]
    torch.testing.assert_close(patch_nce(queries=queries, keys=keys), sum(alone) / 2)


def test_the_temperature_is_the_papers():
    queries, keys = vectors(0), vectors(1)
    assert patch_nce(queries=queries, keys=keys) == patch_nce(queries=queries, keys=keys, temperature=0.07)


@pytest.mark.parametrize(("queries", "keys"), [(0, 0), (2, 1)])
def test_layers_must_go_together(queries, keys):
    with pytest.raises(InputError, match=f"{queries} layers of queries and {keys} of keys"):
        patch_nce(queries=vectors(0)[:queries], keys=vectors(1)[:keys])

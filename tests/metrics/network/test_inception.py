"""Our Inception against pytorch-fid's own network, on weights made up here: no download, every layer counts.

The weights are random, with gamma, beta, mean and variance far from the trivial ones. The second half breaks the
network on purpose, in the ways it is known to go wrong, and sees each caught by the same comparison.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metrics.network import foreign_weights, inception

TOLERANCE = 1e-4  # of the largest feature


@pytest.fixture(scope="module")
def state(build_published: Callable[[dict[str, Tensor]], nn.Module]) -> dict[str, Tensor]:
    """A whole state dict in torchvision's names and shapes, signals kept at about unit size."""
    generator = torch.Generator().manual_seed(1)
    made: dict[str, Tensor] = {}
    with torch.device("meta"):
        shapes = inception.Inception().state_dict()
    for layer in foreign_weights.LAYERS:
        shape = shapes[f"{layer}.weight"].shape
        outputs = shape[0]
        made[f"{layer}.conv.weight"] = torch.randn(shape, generator=generator) * (2 / shape[1:].numel()) ** 0.5
        made[f"{layer}.bn.weight"] = 0.5 + torch.rand(outputs, generator=generator)
        made[f"{layer}.bn.bias"] = 0.3 * torch.randn(outputs, generator=generator)
        made[f"{layer}.bn.running_mean"] = 0.3 * torch.randn(outputs, generator=generator)
        made[f"{layer}.bn.running_var"] = 0.5 + torch.rand(outputs, generator=generator)
    return made | {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}


@pytest.fixture(scope="module")
def images() -> Tensor:
    coarse = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(2)) * 2 - 1
    return F.interpolate(coarse, size=(299, 299), mode="bilinear")


@pytest.fixture(scope="module")
def expected(
    build_published: Callable[[dict[str, Tensor]], nn.Module], state: dict[str, Tensor], images: Tensor
) -> Tensor:
    with torch.inference_mode():
        return build_published(state)(images)[0].flatten(1)


@torch.inference_mode()
def disagreement(network: nn.Module, images: Tensor, expected: Tensor) -> float:
    found = network(images)
    assert found.shape == expected.shape == (2, 2048)
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.fixture
def network(state: dict[str, Tensor]) -> inception.Inception:
    return inception.build(foreign_weights._from_state_dict(state))


def test_it_is_pytorch_fids_network(network: nn.Module, images: Tensor, expected: Tensor) -> None:
    assert float(expected.std()) > 1e-3, "the made-up weights must leave a signal to compare"
    assert disagreement(network, images, expected) < TOLERANCE


def test_reduced_precision_stays_near(state: dict[str, Tensor], images: Tensor, expected: Tensor) -> None:
    reduced = inception.build(foreign_weights._from_state_dict(state), dtype=torch.bfloat16)
    assert TOLERANCE < disagreement(reduced, images, expected) < 0.1


def test_one_image_alone_has_the_features_it_has_in_company(network: nn.Module, images: Tensor) -> None:
    with torch.inference_mode():
        torch.testing.assert_close(network(images[:1]), network(images)[:1], rtol=1e-5, atol=1e-5)


def test_a_gamma_left_out_is_caught(state: dict[str, Tensor], images: Tensor, expected: Tensor) -> None:
    broken = {key: torch.ones_like(value) if key.endswith("bn.weight") else value for key, value in state.items()}
    assert disagreement(inception.build(foreign_weights._from_state_dict(broken)), images, expected) > TOLERANCE


def test_the_wrong_epsilon_is_caught(
    state: dict[str, Tensor], images: Tensor, expected: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_weights, "_BATCH_NORM_EPS", 1e-5)
    assert disagreement(inception.build(foreign_weights._from_state_dict(state)), images, expected) > TOLERANCE


def test_an_average_pool_in_the_last_block_is_caught(
    network: inception.Inception, images: Tensor, expected: Tensor
) -> None:
    network.Mixed_7c.max_pool = False
    assert disagreement(network, images, expected) > TOLERANCE


def test_a_maximum_pool_in_the_block_before_is_caught(
    network: inception.Inception, images: Tensor, expected: Tensor
) -> None:
    network.Mixed_7b.max_pool = True
    assert disagreement(network, images, expected) > TOLERANCE


def test_padding_counted_in_average_pools_is_caught(
    network: inception.Inception, images: Tensor, expected: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = F.avg_pool2d
    monkeypatch.setattr(
        F, "avg_pool2d", lambda x, kernel, **named: pool(x, kernel, **named | {"count_include_pad": True})
    )
    assert disagreement(network, images, expected) > TOLERANCE


def test_two_branches_swapped_are_caught(state: dict[str, Tensor], images: Tensor, expected: Tensor) -> None:
    """3a and 3b of a block differ in their kernels' direction only; swapped, everything still loads and runs."""
    tensors = foreign_weights._from_state_dict(state)
    for part in ("weight", "bias"):
        one, other = f"Mixed_7c.branch3x3_2a.{part}", f"Mixed_7c.branch3x3dbl_3a.{part}"
        tensors[one], tensors[other] = tensors[other], tensors[one]
    assert disagreement(inception.build(tensors), images, expected) > TOLERANCE

"""Penalties and matching terms on critics and features whose values are known in closed form."""

import math

import pytest
import torch
from torch import Tensor, nn

from models import InputError
from training.engine.draws import Draws
from training.objective.terms import (
    cycle_consistency,
    feature_matching,
    gradient_penalty,
    identity_mapping,
    orthogonal,
    perceptual,
    r1_penalty,
    r2_penalty,
)

W = torch.tensor([3.0, -4.0])  # of norm 5


def seeded(seed: int = 0) -> Draws:
    return Draws(torch.Generator().manual_seed(seed))


def linear(x: Tensor) -> Tensor:
    return x @ W


def squares(x: Tensor) -> Tensor:
    """|x|^2 / 2, whose gradient at x is x."""
    return 0.5 * x.square().sum(dim=1)


def points(n: int, seed: int) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("weight", "value"), [(10.0, 160.0), (0.5, 8.0)])
def test_gradient_penalty_of_a_linear_critic(weight: float, value: float) -> None:
    """weight (||w|| - 1)^2 wherever it is taken."""
    penalty = gradient_penalty(linear, real=points(7, 0), fake=points(7, 1), draws=seeded(), weight=weight)
    assert penalty.item() == pytest.approx(value, rel=1e-6)


def test_gradient_penalty_is_least_for_a_slope_of_one() -> None:
    scale = torch.tensor(0.2, requires_grad=True)
    gradient_penalty(lambda x: scale * linear(x), real=points(4, 0), fake=points(4, 1), draws=seeded()).backward()
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx(0, abs=1e-5)
    # and it is not the squared norm's: at half that slope, d/ds 10 (5 s - 1)^2 = 100 (5 s - 1)
    scale = torch.tensor(0.1, requires_grad=True)
    gradient_penalty(lambda x: scale * linear(x), real=points(4, 0), fake=points(4, 1), draws=seeded()).backward()
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx(-50, rel=1e-5)


def test_gradient_penalty_is_taken_on_the_lines_between_pairs() -> None:
    """The critic |x|^2 / 2 has slope |x|. Between (r, 0) and (r, 4) that is sqrt(r^2 + 16 t^2), t uniform."""
    seen = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return squares(x)

    r = torch.arange(1.0, 2001.0) / 2000
    real, fake = torch.stack([r, torch.zeros(2000)], 1), torch.stack([r, torch.full((2000,), 4.0)], 1)
    penalty = gradient_penalty(critic, real=real, fake=fake, weight=1, draws=seeded(3))
    (x,) = seen
    torch.testing.assert_close(x[:, 0], r)  # each on its own line
    assert penalty.item() == pytest.approx((x.norm(dim=1) - 1).square().mean().item(), rel=1e-5)
    quantiles = torch.quantile(x[:, 1], torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]))
    torch.testing.assert_close(quantiles, torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0]), atol=0.15, rtol=0)


def test_gradient_penalty_is_a_function_of_its_draws() -> None:
    def draw(seed: int) -> float:
        return gradient_penalty(squares, real=points(5, 0), fake=points(5, 1), draws=seeded(seed)).item()

    assert draw(0) == draw(0)
    assert draw(0) != draw(1)


def test_gradient_penalty_leaves_its_inputs_alone() -> None:
    """No gradient to the generator through the positions, and no mark left on the batch of data."""
    real, fake = points(5, 0), points(5, 1).requires_grad_()
    gradient_penalty(lambda x: squares(x) * math.pi, real=real, fake=fake, draws=seeded())
    assert not real.requires_grad
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))  # curved: its slope depends on where it is
    gradient_penalty(net, real=real, fake=fake, draws=seeded()).backward()
    assert fake.grad is None
    assert net[0].weight.grad is not None


def test_gradient_penalty_refuses_batches_that_do_not_pair() -> None:
    with pytest.raises(InputError, match=r"real is \(3, 2\) and fake \(4, 2\)"):
        gradient_penalty(linear, real=points(3, 0), fake=points(4, 1), draws=seeded())


@pytest.mark.parametrize(("gamma", "value"), [(10.0, 125.0), (1.0, 12.5)])
def test_r1_of_a_linear_critic(gamma: float, value: float) -> None:
    """gamma / 2 ||w||^2."""
    assert r1_penalty(linear, real=points(6, 0), weight=gamma).item() == pytest.approx(value, rel=1e-6)


def test_r1_is_taken_at_the_data_and_averaged_over_it() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert r1_penalty(squares, real=x, weight=2.0).item() == pytest.approx((25 + 1) / 2, rel=1e-6)
    assert not x.requires_grad


def test_r2_is_taken_at_the_samples_and_trains_the_critic_alone() -> None:
    """Of s |x|^2 / 2 it is gamma / 2 s^2 E[|x|^2], so gamma s E[|x|^2] in s: a derivative through two gradients."""
    scale = torch.tensor(3.0, requires_grad=True)
    x = torch.tensor([[3.0, 4.0], [0.0, 1.0]], requires_grad=True)
    penalty = r2_penalty(lambda points: scale * squares(points), fake=x, weight=0.5)
    assert penalty.item() == pytest.approx(0.25 * 9 * 13)
    penalty.backward()
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx(0.5 * 3 * 13)
    assert x.grad is None, "no gradient to the generator"


@pytest.mark.parametrize("name", ["gradient_penalty", "r1_penalty", "r2_penalty"])
def test_a_map_of_logits_counts_by_its_mean(name: str) -> None:
    """A patch discriminator whose every logit is w.x has the slope w, whatever the number of patches."""

    def patches(x: Tensor) -> Tensor:
        return linear(x)[:, None, None, None].expand(-1, 1, 3, 3)

    x = points(4, 0)
    if name == "gradient_penalty":
        value, expected = gradient_penalty(patches, real=x, fake=x, draws=seeded()), 160
    elif name == "r2_penalty":
        value, expected = r2_penalty(patches, fake=x), 125
    else:
        value, expected = r1_penalty(patches, real=x), 125
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_penalties_work_on_images() -> None:
    """sum of w x over 3 x 4 x 4 pixels with w = 1: a slope of sqrt(48)."""
    x = torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last)
    critic = torch.sum
    assert r1_penalty(lambda v: critic(v, dim=(1, 2, 3)), real=x, weight=2).item() == pytest.approx(48)
    penalty = gradient_penalty(lambda v: critic(v, dim=(1, 2, 3)), real=x, fake=x, draws=seeded(), weight=1)
    assert penalty.item() == pytest.approx((math.sqrt(48) - 1) ** 2, rel=1e-6)


@pytest.mark.parametrize("shape", [(3, 2, 2, 2), (5, 3)], ids=["few filters", "many"])
def test_orthogonal_is_the_squared_products_of_different_filters(shape: tuple[int, ...]) -> None:
    """Twice those of each two, as the matrix has both; lengths do not count, and two layers add up."""
    weight = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    rows = weight.flatten(1)
    expected = sum((rows[i] @ rows[j]) ** 2 for i in range(len(rows)) for j in range(len(rows)) if i != j)
    torch.testing.assert_close(orthogonal([weight]), expected)
    assert torch.autograd.gradcheck(lambda w: orthogonal([w]), (weight,))
    apart = torch.diag(torch.tensor([1.0, 5.0, 9.0], dtype=torch.float64))
    torch.testing.assert_close(orthogonal([apart, weight]), expected)


def test_feature_matching_compares_means_not_samples() -> None:
    """Means (2, 3) and (1, 0): (1 + 9) over two activations. Which sample holds what does not count."""
    real = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    fake = torch.tensor([[0.0, 1.0], [1.0, -3.0], [2.0, 2.0]])
    assert feature_matching(real=[real], fake=[fake]).item() == pytest.approx(5.0)
    assert feature_matching(real=[real], fake=[real.flip(0)]).item() == 0


def test_feature_matching_averages_layers() -> None:
    wide, narrow = torch.ones(2, 4, 3, 3), torch.ones(2, 5)
    value = feature_matching(real=[wide, narrow], fake=[0 * wide, 3 * narrow])
    assert value.item() == pytest.approx((1 + 4) / 2)


def test_feature_matching_moves_the_generator_only() -> None:
    real, fake = points(3, 0).requires_grad_(), points(3, 1).requires_grad_()
    feature_matching(real=[real], fake=[fake]).backward()
    assert real.grad is None
    assert fake.grad is not None
    expected = 2 * (fake.mean(0) - real.mean(0)) / 2 / 3  # d/df of the squared mean difference, over 2 activations
    torch.testing.assert_close(fake.grad, expected.detach().expand(3, 2))


@pytest.mark.parametrize(("real", "fake"), [(0, 0), (1, 2), (2, 1)])
def test_feature_matching_refuses_other_layers(real: int, fake: int) -> None:
    with pytest.raises(InputError, match=f"got {real} layers of real and {fake} of fake"):
        feature_matching(real=[points(2, 0)] * real, fake=[points(2, 0)] * fake)


def test_perceptual_is_the_squared_distance_of_activations() -> None:
    def features(images: Tensor) -> Tensor:
        return torch.stack([images.mean(dim=(1, 2, 3)), 2 * images.amax(dim=(1, 2, 3))], dim=1)

    image, target = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    image.requires_grad_()
    target.requires_grad_()
    value = perceptual(features, image=image, target=target)
    value.backward()
    assert value.item() == pytest.approx((1 + 4) / 2)
    assert target.grad is None
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


def test_perceptual_compares_pair_by_pair() -> None:
    """Two images exchanged have the same mean activations: feature matching is blind to it, this is not."""
    images = torch.stack([torch.zeros(3, 4, 4), torch.ones(3, 4, 4)])
    assert perceptual(lambda x: x.mean(dim=(2, 3)), image=images, target=images.flip(0)).item() == 1.0


@pytest.mark.parametrize("size", [4, 16])
def test_cycle_and_identity_are_absolute_differences_per_pixel(size: int) -> None:
    image = torch.zeros(2, 3, size, size)
    other = image.clone()
    other[0] = -0.5
    other[1] = 1.5
    assert cycle_consistency(image=image, round_trip=other).item() == pytest.approx(1.0)
    assert identity_mapping(image=image, translated=other).item() == pytest.approx(1.0)

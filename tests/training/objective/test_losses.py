"""The adversarial losses against values and divergences worked out by hand.

The divergences are those of N(0, 1) from N(m, 1): the optimal logit, log(p / q), is known in closed form, and
expectations are means over midpoint quantiles, so that nothing here is sampled.
"""

import math

import pytest
import torch
from torch import Tensor

from models import InputError
from training.objective.losses import LOSSES

SMOOTHED = [name for name, loss in LOSSES.items() if loss.label_smoothing]
UNPAIRED = [name for name, loss in LOSSES.items() if not loss.paired]
UNSMOOTHED = [name for name, loss in LOSSES.items() if not loss.label_smoothing]

# logits chosen so that every branch of every loss is passed: both sides of the hinge, both signs
REAL = torch.tensor([2.0, 0.5, -1.0], dtype=torch.float64)
FAKE = torch.tensor([-2.0, 1.0], dtype=torch.float64)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_the_table_names_its_rows_and_their_constraints() -> None:
    assert list(LOSSES) == [
        "minimax", "non-saturating", "lsgan", "hinge", "wgan", "wgan-gp", "fgan-kl", "fgan-js", "rpgan",
    ]  # fmt: skip
    assert all(loss.name == name for name, loss in LOSSES.items())
    assert {n: loss.weight_clip for n, loss in LOSSES.items() if loss.weight_clip} == {"wgan": 0.01}
    assert {n: loss.gradient_penalty for n, loss in LOSSES.items() if loss.gradient_penalty} == {"wgan-gp": 10.0}


def test_the_table_cannot_be_written_to() -> None:
    with pytest.raises(TypeError):
        LOSSES["minimax"] = LOSSES["lsgan"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("minimax", -1.3133),  # log(1 - sigmoid(1)): the figure that tells it from the next
        ("non-saturating", 0.3133),  # -log(sigmoid(1))
        ("lsgan", 0.0),
        ("hinge", -1.0),
        ("wgan", -1.0),
        ("wgan-gp", -1.0),
        ("fgan-kl", -1.0),  # -exp(1 - 1)
        ("fgan-js", math.log(2) - 1.3133),
    ],
)
def test_generator_at_logit_one(name: str, value: float) -> None:
    assert LOSSES[name].generator(fake=torch.ones(4)).item() == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("minimax", mean([math.log(1 - sigmoid(x)) for x in FAKE.tolist()])),
        ("non-saturating", mean([-math.log(sigmoid(x)) for x in FAKE.tolist()])),
        ("lsgan", mean([0.5 * (x - 1) ** 2 for x in FAKE.tolist()])),
        ("hinge", 0.5),
        ("wgan", 0.5),
        ("wgan-gp", 0.5),
        ("fgan-kl", mean([-math.exp(x - 1) for x in FAKE.tolist()])),
        ("fgan-js", mean([math.log(2 - math.exp(math.log(2 * sigmoid(x)))) for x in FAKE.tolist()])),
    ],
)
def test_generator_by_the_papers_formula(name: str, value: float) -> None:
    assert LOSSES[name].generator(fake=FAKE).item() == pytest.approx(value, abs=1e-12)


MINIMAX = mean([-math.log(sigmoid(x)) for x in REAL.tolist()]) + mean(
    [-math.log(1 - sigmoid(x)) for x in FAKE.tolist()]
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("minimax", MINIMAX),
        ("non-saturating", MINIMAX),
        ("lsgan", 0.5 * (1 + 0.25 + 4) / 3 + 0.5 * (4 + 1) / 2),
        ("hinge", (0 + 0.5 + 2) / 3 + (0 + 2) / 2),
        ("wgan", -0.5 - 0.5),
        ("wgan-gp", -0.5 - 0.5),
        ("fgan-kl", mean([math.exp(x - 1) for x in FAKE.tolist()]) - 0.5),
        # table 2 as printed: -E[g(v)] + E[f*(g(v))], g = log 2 - log(1 + e^-v), f*(t) = -log(2 - e^t)
        (
            "fgan-js",
            -mean([math.log(2) - math.log(1 + math.exp(-x)) for x in REAL.tolist()])
            + mean([-math.log(2 - math.exp(math.log(2 * sigmoid(x)))) for x in FAKE.tolist()]),
        ),
    ],
)
def test_discriminator_by_the_papers_formula(name: str, value: float) -> None:
    assert LOSSES[name].discriminator(real=REAL, fake=FAKE).item() == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("name", UNPAIRED)
def test_patch_logits_count_as_so_many_samples(name: str) -> None:
    real, fake = REAL.repeat(8).reshape(2, 1, 4, 3), FAKE.repeat(6).reshape(2, 1, 2, 3)
    loss = LOSSES[name]
    assert loss.discriminator(real=real, fake=fake).shape == ()
    torch.testing.assert_close(loss.discriminator(real=real, fake=fake), loss.discriminator(real=REAL, fake=FAKE))
    torch.testing.assert_close(loss.generator(fake=fake), loss.generator(fake=FAKE))


def test_patches_are_paired_by_their_place() -> None:
    """log(1 + exp(V(G(z)) - V(x))) of each place of a map, and the generator's with both sides exchanged."""
    real, fake = [3.0, -1.0, 0.5, 2.0], [1.0, 0.0, -2.0, 2.0]
    maps = [torch.tensor(side, dtype=torch.float64).reshape(2, 1, 1, 2) for side in (real, fake)]
    pairs = list(zip(real, fake, strict=True))
    rpgan = LOSSES["rpgan"]
    told = rpgan.discriminator(real=maps[0], fake=maps[1]).item(), rpgan.generator(real=maps[0], fake=maps[1]).item()
    assert told[0] == pytest.approx(mean([math.log(1 + math.exp(f - r)) for r, f in pairs]), abs=1e-12)
    assert told[1] == pytest.approx(mean([math.log(1 + math.exp(r - f)) for r, f in pairs]), abs=1e-12)


def test_a_relativistic_loss_knows_differences_alone() -> None:
    """No level of all logits is better than another; a level is what `non-saturating` pays its generator for."""
    real, fake = REAL, FAKE.repeat(2)[:3]
    loss = LOSSES["rpgan"]
    torch.testing.assert_close(
        loss.discriminator(real=real + 7, fake=fake + 7), loss.discriminator(real=real, fake=fake)
    )
    torch.testing.assert_close(loss.generator(real=real + 7, fake=fake + 7), loss.generator(real=real, fake=fake))
    assert loss.discriminator(real=real, fake=real).item() == pytest.approx(math.log(2), abs=1e-12)


def test_logits_that_do_not_pair_are_refused() -> None:
    with pytest.raises(InputError, match=r"real is \(3,\) and fake \(2,\).*one to one"):
        LOSSES["rpgan"].discriminator(real=REAL, fake=FAKE)
    with pytest.raises(InputError, match="real is none"):
        LOSSES["rpgan"].generator(fake=FAKE)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "fgan-kl"])
def test_extreme_logits_stay_finite(name: str) -> None:
    """log(sigmoid(-200)) written naively is -inf. f-GAN KL is left out: its exponential is the paper's."""
    far = torch.tensor([-200.0, 200.0], requires_grad=True)
    real = far.flip(0)
    value = LOSSES[name].discriminator(real=real, fake=far) + LOSSES[name].generator(fake=far, real=real)
    value.backward()
    assert torch.isfinite(value)
    assert far.grad is not None
    assert torch.isfinite(far.grad).all()


# --- one-sided label smoothing


@pytest.mark.parametrize("name", ["minimax", "non-saturating"])
def test_smoothing_moves_the_best_real_logit_to_the_label(name: str) -> None:
    """Where only data is seen, cross entropy with the label 0.9 is least at D(x) = 0.9."""
    logit = torch.tensor([math.log(0.9 / 0.1)], requires_grad=True)
    value = LOSSES[name].discriminator(real=logit, fake=torch.tensor([-80.0]), real_target=0.9)
    value.backward()
    assert value.item() == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1), abs=1e-6)
    assert logit.grad is not None
    assert logit.grad.item() == pytest.approx(0, abs=1e-6)


def test_smoothing_moves_the_least_squares_target() -> None:
    value = LOSSES["lsgan"].discriminator(real=torch.tensor([0.9]), fake=torch.zeros(1), real_target=0.9)
    assert value.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", SMOOTHED)
def test_smoothing_is_one_sided(name: str) -> None:
    """The label of generated samples stays 0: smoothing must not change what a fake logit costs."""

    def cost(fake: float, target: float) -> float:
        logits = torch.tensor([fake], dtype=torch.float64)
        return LOSSES[name].discriminator(real=REAL, fake=logits, real_target=target).item()

    assert cost(1.5, 0.9) - cost(-0.5, 0.9) == pytest.approx(cost(1.5, 1.0) - cost(-0.5, 1.0), abs=1e-12)


@pytest.mark.parametrize("name", UNSMOOTHED)
def test_smoothing_is_refused_where_there_is_no_label(name: str) -> None:
    with pytest.raises(InputError, match=r"real_target is 0\.9.*no label"):
        LOSSES[name].discriminator(real=REAL, fake=FAKE, real_target=0.9)


@pytest.mark.parametrize("name", SMOOTHED)
@pytest.mark.parametrize("target", [0.0, -0.1, 1.1, math.nan])
def test_a_label_out_of_range_is_refused(name: str, target: float) -> None:
    with pytest.raises(InputError, match="must be above 0, at most 1"):
        LOSSES[name].discriminator(real=REAL, fake=FAKE, real_target=target)


# --- the divergences behind the losses

# midpoint quantiles of N(0, 1): a mean over them is the expectation under it, with no sampling noise
NORMAL = torch.special.ndtri((torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000)


def log_ratio(x: Tensor, shift: float) -> Tensor:
    """log(p / q) of p = N(0, 1), the data, against q = N(shift, 1), the generator."""
    return 0.5 * (x - shift) ** 2 - 0.5 * x**2


def jensen_shannon(shift: float) -> float:
    """Of N(0, 1) against N(shift, 1): the mean of their KL divergences from the even mixture, integrated."""
    x = torch.linspace(-20, 20, 40_001, dtype=torch.float64)
    p = torch.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    q = torch.exp(-0.5 * (x - shift) ** 2) / math.sqrt(2 * math.pi)
    middle = (p + q) / 2
    return 0.5 * torch.trapezoid(torch.xlogy(p, p / middle) + torch.xlogy(q, q / middle), x).item()


def discriminator_value(name: str, shift: float, offset: float, scale: float = 1.0) -> float:
    """The discriminator's loss with logits offset + scale log(p / q)."""
    real, fake = (offset + scale * log_ratio(x, shift) for x in (NORMAL, NORMAL + shift))
    return LOSSES[name].discriminator(real=real, fake=fake).item()


def test_minimax_of_equal_distributions_is_log_four() -> None:
    """Goodfellow 2014, theorem 1: the game's value is then -log 4; the loss is minus it."""
    logits = torch.zeros(8, dtype=torch.float64)
    value = LOSSES["minimax"].discriminator(real=logits, fake=logits)
    assert value.item() == pytest.approx(math.log(4), abs=1e-12)


def test_js_form_of_equal_distributions_is_zero() -> None:
    logits = torch.zeros(8, dtype=torch.float64)
    assert LOSSES["fgan-js"].discriminator(real=logits, fake=logits).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("shift", [0.5, 1.0])
def test_kl_bound_is_tight_at_the_optimal_critic(shift: float) -> None:
    """KL(N(0, 1) || N(m, 1)) = m^2 / 2, reached at V = 1 + log(p / q); any other critic stays below."""
    value = -discriminator_value("fgan-kl", shift, offset=1)
    assert value == pytest.approx(shift**2 / 2, abs=1e-4)
    for scale, offset in ((1.0, 1.2), (1.0, 0.8), (0.8, 1.0)):
        other = -discriminator_value("fgan-kl", shift, offset, scale)
        assert other < value - 1e-3


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_js_bound_is_tight_at_the_optimal_critic(shift: float) -> None:
    divergence = jensen_shannon(shift)
    value = -discriminator_value("fgan-js", shift, offset=0)
    assert value == pytest.approx(2 * divergence, abs=1e-4)
    minimax = discriminator_value("minimax", shift, offset=0)
    assert minimax == pytest.approx(math.log(4) - 2 * divergence, abs=1e-4)
    for scale, offset in ((1.0, 0.5), (1.0, -0.5), (0.5, 0.0)):
        other = -discriminator_value("fgan-js", shift, offset, scale)
        assert other < value - 1e-3


def generator_slope(name: str, shift: float, offset: float) -> float:
    """d/dm of the generator's loss where it draws m + noise at m = shift, against the optimal critic
    `offset` + log(p / q) of that m, held fixed."""
    m = torch.tensor(shift, dtype=torch.float64, requires_grad=True)
    LOSSES[name].generator(fake=offset + log_ratio(NORMAL + m, shift)).backward()
    assert m.grad is not None
    return m.grad.item()


@pytest.mark.parametrize("shift", [-0.5, 0.5, 1.0])
def test_kl_generator_descends_kl_of_data_from_samples(shift: float) -> None:
    """d/dm m^2 / 2 = m."""
    assert generator_slope("fgan-kl", shift, offset=1) == pytest.approx(shift, abs=1e-3)


@pytest.mark.parametrize("shift", [-0.5, 0.5, 1.0])
@pytest.mark.parametrize("name", ["minimax", "fgan-js"])
def test_minimax_generator_descends_twice_jensen_shannon(name: str, shift: float) -> None:
    step = 1e-3
    slope = (jensen_shannon(shift + step) - jensen_shannon(shift - step)) / step  # of 2 JS
    assert generator_slope(name, shift, offset=0) == pytest.approx(slope, abs=1e-4)


def test_wasserstein_of_shifted_gaussians_is_the_shift() -> None:
    """The best 1-Lipschitz critic between N(0, 1) and N(2, 1) is -x."""
    value = LOSSES["wgan"].discriminator(real=-NORMAL, fake=-(NORMAL + 2))
    assert value.item() == pytest.approx(-2, abs=1e-9)


def slope_at(name: str, logit: float) -> float:
    x = torch.tensor([logit], dtype=torch.float64, requires_grad=True)
    LOSSES[name].generator(fake=x, real=torch.zeros_like(x)).backward()
    assert x.grad is not None
    return x.grad.item()


def test_where_the_discriminator_is_sure_minimax_is_flat_and_the_others_are_not() -> None:
    """A logit of -20: D(G(z)) = 2e-9. The pull on the generator, by loss."""
    assert slope_at("minimax", -20) == pytest.approx(0, abs=1e-8)
    assert slope_at("fgan-js", -20) == pytest.approx(0, abs=1e-8)
    assert slope_at("non-saturating", -20) == pytest.approx(-1, abs=1e-8)
    assert slope_at("hinge", -20) == slope_at("wgan", -20) == slope_at("wgan-gp", -20) == -1
    assert slope_at("lsgan", -20) == pytest.approx(-21, abs=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_every_generator_wants_higher_logits_and_every_discriminator_lower_fake_ones(name: str) -> None:
    assert slope_at(name, 0.0) < 0
    real = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    fake = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    LOSSES[name].discriminator(real=real, fake=fake + 0.1).backward()
    assert real.grad is not None
    assert fake.grad is not None
    assert real.grad.item() < 0 < fake.grad.item()

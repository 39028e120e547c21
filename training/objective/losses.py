"""Adversarial losses: pure functions of logits, and the one table that names them.

A discriminator (or critic) gives one real number a sample, or a map of them for a patch discriminator: the
logit, before any sigmoid. Every loss here is a pair of functions of logits,

    discriminator(real=, fake=, real_target=1.0) -> scalar tensor, which the discriminator minimises
    generator(fake=, real=None)                  -> scalar tensor, which the generator minimises

with `real` the logits of data and `fake` those of generated samples, float tensors of any shape. The two need not
agree, each is averaged on its own; but a paired loss compares each fake with a real one, in the generator's step too,
and needs both of one shape. A loss adds no constraint by itself: `LOSSES` says which its paper asks for, and with
which steps and rates. `real_target` is the label of data, in (0, 1]; below one it is one-sided label smoothing
(Salimans et al. 2016, section 3.4). Only some losses compare with a label; the others refuse it with `InputError`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid, relu, softplus

from models import InputError


class DiscriminatorLoss(Protocol):
    """What the discriminator minimises."""

    def __call__(self, *, real: Tensor, fake: Tensor, real_target: float = 1.0) -> Tensor: ...


class GeneratorLoss(Protocol):
    """What the generator minimises. `real` is there for paired losses alone."""

    def __call__(self, *, fake: Tensor, real: Tensor | None = None) -> Tensor: ...


@dataclass(frozen=True)
class Loss:
    """One row of the table.

    paired: whether the generator's loss compares its logits with those of real images, one to one.
    scale: the factor that its paper writes before the expectations. A game whose own paper writes the loss without it
        divides by it, in the discriminator's step and in the generator's.
    advises: {option: value} of a run, as its paper trains it; taken where the run says nothing else.
    weight_clip: after every discriminator step, clamp each of its parameters to [-weight_clip, weight_clip].
    gradient_penalty: weight of `training.objective.terms.gradient_penalty` in the discriminator's loss.
    label_smoothing: whether `real_target` below one is allowed.
    """

    name: str
    discriminator: DiscriminatorLoss
    generator: GeneratorLoss
    paired: bool = False
    scale: float = 1.0
    advises: Mapping[str, float] = field(default_factory=dict)
    weight_clip: float | None = None
    gradient_penalty: float | None = None
    label_smoothing: bool = False


def minimax_discriminator(*, real: Tensor, fake: Tensor, real_target: float = 1.0) -> Tensor:
    """-E[log D(x)] - E[log(1 - D(G(z)))] with D = sigmoid(logit).

    Goodfellow et al. 2014, "Generative Adversarial Nets", equation 1, negated. Its least value, at the best
    discriminator, is log 4 - 2 JS(data, generator), so log 4 where the two are equal (their theorem 1).
    With `real_target` t the first term is the cross entropy with the label t.
    """
    _check_target(real_target)
    return binary_cross_entropy_with_logits(real, torch.full_like(real, real_target)) + softplus(fake).mean()


def minimax_generator(*, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """E[log(1 - D(G(z)))], in (-inf, 0]; -1.3133 at logit 1.

    Goodfellow et al. 2014, equation 1, as the generator sees it. Its slope is -sigmoid(logit), so it vanishes
    where the discriminator is sure of itself: their section 3, and Arjovsky & Bottou 2017, theorem 2.4.
    """
    return logsigmoid(-fake).mean()


def non_saturating_generator(*, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """-E[log D(G(z))], in [0, inf); +0.3133 at logit 1.

    Goodfellow et al. 2014, section 3, "rather than training G to minimize log(1 - D(G(z))) we can train G to
    maximize log D(G(z))". Its slope is sigmoid(logit) - 1: largest where the discriminator is sure.
    """
    return softplus(-fake).mean()


def lsgan_discriminator(*, real: Tensor, fake: Tensor, real_target: float = 1.0) -> Tensor:
    """1/2 E[(D(x) - b)^2] + 1/2 E[D(G(z))^2] with b = `real_target`.

    Mao et al. 2017, "Least Squares Generative Adversarial Networks", equation 2 in the 0-1 coding of its
    equation 9: a = 0, b = c = 1.
    """
    _check_target(real_target)
    return 0.5 * ((real - real_target).square().mean() + fake.square().mean())


def lsgan_generator(*, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """1/2 E[(D(G(z)) - 1)^2]. Mao et al. 2017, equation 9."""
    return 0.5 * (fake - 1).square().mean()


def hinge_discriminator(*, real: Tensor, fake: Tensor, real_target: float = 1.0) -> Tensor:
    """E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))].

    Lim & Ye 2017, "Geometric GAN"; Miyato et al. 2018, "Spectral Normalization for GANs",
    equation 16. Raises InputError for a `real_target` other than one.
    """
    _refuse_target("hinge", real_target)
    return relu(1 - real).mean() + relu(1 + fake).mean()


def wasserstein_discriminator(*, real: Tensor, fake: Tensor, real_target: float = 1.0) -> Tensor:
    """E[D(G(z))] - E[D(x)]: minus the Wasserstein distance, at the best 1-Lipschitz critic.

    Arjovsky et al. 2017, "Wasserstein GAN", equation 2. The Lipschitz constraint is weight clipping there
    (algorithm 1, c = 0.01) and the gradient penalty in Gulrajani et al. 2017, equation 3 (weight 10).
    Raises InputError for a `real_target` other than one.
    """
    _refuse_target("Wasserstein", real_target)
    return fake.mean() - real.mean()


def critic_generator(*, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """-E[D(G(z))]: the generator of the Wasserstein and of the hinge loss.

    Arjovsky et al. 2017, theorem 3 and algorithm 1; Miyato et al. 2018, equation 17.
    """
    return -fake.mean()


def fgan_kl_discriminator(*, real: Tensor, fake: Tensor, real_target: float = 1.0) -> Tensor:
    """-(E[V(x)] - E[exp(V(G(z)) - 1)]): minus a lower bound of KL(data || generator), V the logit.

    Nowozin et al. 2016, "f-GAN", equations 6 and 7 with table 2's row KL: output activation g(v) = v,
    conjugate f*(t) = exp(t - 1). The bound is tight at V = 1 + log(p / q). The exponential is the paper's:
    where the discriminator is sure of a fake sample being real it grows without limit.
    Raises InputError for a `real_target` other than one.
    """
    _refuse_target("f-GAN KL", real_target)
    return torch.exp(fake - 1).mean() - real.mean()


def fgan_kl_generator(*, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """-E[exp(V(G(z)) - 1)]: the generator's part of the same saddle point.

    Nowozin et al. 2016, equation 6, row KL. At the optimal critic its gradient is that of
    KL(data || generator). The alternative of their section 3.2, -E[V(G(z))], is not that divergence's (it
    descends the reverse one), so it does not carry its name here.
    """
    return -torch.exp(fake - 1).mean()


def fgan_js_discriminator(*, real: Tensor, fake: Tensor, real_target: float = 1.0) -> Tensor:
    """-(E[g(V(x))] - E[f*(g(V(G(z))))]): minus a lower bound of 2 JS(data, generator), V the logit.

    Nowozin et al. 2016, equations 6 and 7 with table 2's row Jensen-Shannon: g(v) = log 2 - log(1 + exp(-v)),
    f*(t) = -log(2 - exp(t)). That row's f(u) = u log u - (u + 1) log((u + 1) / 2) gives twice the usual
    Jensen-Shannon divergence. The bound is tight at V = log(p / q). It is the minimax loss less log 4.
    Raises InputError for a `real_target` other than one.
    """
    _refuse_target("f-GAN Jensen-Shannon", real_target)
    # f*(g(v)) = -log(2 - 2 sigmoid(v)) = softplus(v) - log 2; written out, 2 - exp(t) would cancel.
    return softplus(-real).mean() + softplus(fake).mean() - 2 * log(2)


def fgan_js_generator(*, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """-E[f*(g(V(G(z))))] = log 2 + E[log(1 - sigmoid(V))], in (-inf, log 2].

    Nowozin et al. 2016, equation 6, row Jensen-Shannon: the minimax generator and a constant, so it vanishes
    as that one does. The alternative of their section 3.2 is the non-saturating generator less log 2.
    """
    return logsigmoid(-fake).mean() + log(2)


def rpgan_discriminator(*, real: Tensor, fake: Tensor, real_target: float = 1.0) -> Tensor:
    """E[log(1 + exp(D(G(z)) - D(x)))], the k-th fake against the k-th real; log 2 where it cannot tell them apart.

    Jolicoeur-Martineau 2018, "The relativistic discriminator", section 4.1; Huang et al. 2024, "The GAN is dead; long
    live the GAN!", equation 2, who add R1 and R2 (R3GAN), and whose D has the other sign. Only differences count: a
    fake is judged by the real one beside it, so no level of logits has a good side where all samples could gather.
    Raises InputError for a `real_target` other than one, and for logits of two shapes.
    """
    _refuse_target("relativistic", real_target)
    return softplus(-_margins(real, fake)).mean()


def rpgan_generator(*, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """E[log(1 + exp(D(x) - D(G(z))))]: the discriminator's loss with both sides exchanged.

    Jolicoeur-Martineau 2018, section 4.1; Huang et al. 2024, equation 2. Raises InputError without real logits, and for
    logits of two shapes.
    """
    return softplus(_margins(real, fake)).mean()


def _margins(real: Tensor | None, fake: Tensor) -> Tensor:
    """By how much each real logit lies above the fake one beside it."""
    if real is None or real.shape != fake.shape:
        given = "none" if real is None else tuple(real.shape)
        raise InputError(f"real is {given} and fake {tuple(fake.shape)}: a paired loss compares them one to one.")
    return real - fake


def _check_target(real_target: float) -> None:
    if not 0 < real_target <= 1:
        raise InputError(f"real_target is {real_target}: data's label must be above 0, at most 1.")


def _refuse_target(name: str, real_target: float) -> None:
    if real_target != 1:
        raise InputError(
            f"real_target is {real_target}, but the {name} loss compares with no label, so there is nothing "
            "to smooth: leave it at 1, or use minimax, non-saturating or lsgan."
        )


# algorithm 1 of Arjovsky et al. 2017, whose RMSProp is Adam without its first momentum, and of Gulrajani et al. 2017
_WGAN = {"d_steps": 5, "g_lr": 5e-5, "d_lr": 5e-5, "beta1": 0.0, "beta2": 0.99}
_WGAN_GP = {"d_steps": 5, "g_lr": 1e-4, "d_lr": 1e-4, "beta1": 0.0, "beta2": 0.9}

_ROWS = (
    Loss("minimax", minimax_discriminator, minimax_generator, label_smoothing=True),
    Loss("non-saturating", minimax_discriminator, non_saturating_generator, label_smoothing=True),
    Loss("lsgan", lsgan_discriminator, lsgan_generator, scale=0.5, label_smoothing=True),
    Loss("hinge", hinge_discriminator, critic_generator),
    Loss("wgan", wasserstein_discriminator, critic_generator, advises=_WGAN, weight_clip=0.01),
    Loss("wgan-gp", wasserstein_discriminator, critic_generator, advises=_WGAN_GP, gradient_penalty=10.0),
    Loss("fgan-kl", fgan_kl_discriminator, fgan_kl_generator),
    Loss("fgan-js", fgan_js_discriminator, fgan_js_generator),
    Loss("rpgan", rpgan_discriminator, rpgan_generator, paired=True),
)

LOSSES: Mapping[str, Loss] = MappingProxyType({row.name: row for row in _ROWS})

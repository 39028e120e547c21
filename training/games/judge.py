"""The discriminator's side of a game: what it sees, what it minimises, and what it tells the generator.

Games put their discriminators into a `Judge` each, so every loss and trick of the trade is one flag in any of them. A
`Judge` trains nothing by itself: a game adds up what its judges give and takes the step
(`training.games.optimize.Mover`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from training.engine.draws import Draws
from training.engine.graphs import Pass
from training.engine.schedules import Schedule, constant
from training.engine.stage import Moment, Stage
from training.objective.augment import diff_augment
from training.objective.losses import LOSSES, Loss
from training.objective.terms import feature_matching, gradient_penalty, r1_penalty, r2_penalty
from training.options.run import Run

TRICKS = 2**32  # the purpose of a step's draws here; a game's own are below it


@dataclass(frozen=True)
class Critic:
    """A discriminator of images alone, in full precision: penalties differentiate it twice."""

    network: nn.Module
    classes: Tensor | None

    def __call__(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images, *given(self.classes))
        return logits


@dataclass(frozen=True)
class Penalty:
    """A term of the discriminator's loss, and its weight at every moment.

    term: critic, real and fake images [n, c, h, w], draws and the weight -> the weighted term.
    """

    weight: Schedule
    term: Callable[[Critic, Tensor, Tensor, Draws, float], Tensor]


@dataclass(frozen=True)
class Rules:
    """What a discriminator learns by. A game takes the usual ones (`rules_of`) and may replace some.

    Attributes:
        noise: deviation of instance noise.
        augmented: the chance that an image is augmented by the options' policy.
        penalties: beside the loss.
        scale: what the loss is multiplied with, in the discriminator's step and in the generator's.
    """

    loss: Loss
    noise: Schedule
    augmented: Schedule
    penalties: tuple[Penalty, ...]
    scale: float = 1.0


def rules_of(run: Run) -> Rules:
    """The rules that the options of a run stand for."""
    loss = LOSSES[run.game.loss]
    penalties = []
    if loss.gradient_penalty is not None:
        penalties.append(Penalty(constant(loss.gradient_penalty), _gradient))
    if run.game.r1:
        penalties.append(Penalty(run.penalty("r1"), _r1))
    if run.game.r2:
        penalties.append(Penalty(run.penalty("r2"), _r2))
    return Rules(loss, run.game.noise, run.augmented, tuple(penalties))


def _gradient(critic: Critic, real: Tensor, fake: Tensor, draws: Draws, weight: float) -> Tensor:
    return gradient_penalty(critic, real=real, fake=fake, weight=weight, draws=draws)


def _r1(critic: Critic, real: Tensor, fake: Tensor, draws: Draws, weight: float) -> Tensor:
    return r1_penalty(critic, real=real, weight=weight)


def _r2(critic: Critic, real: Tensor, fake: Tensor, draws: Draws, weight: float) -> Tensor:
    return r2_penalty(critic, fake=fake, weight=weight)


@dataclass(frozen=True)
class Verdict:
    """What a discriminator minimises (loss and penalties), and what to log of it: the loss and its mean logits."""

    total: Tensor
    loss: Tensor
    real: Tensor
    fake: Tensor


def mean_verdict(verdicts: Sequence[Verdict]) -> Verdict:
    """Of a batch, from those of its equal parts."""
    rows = [torch.stack([one.total.detach(), one.loss, one.real, one.fake]) for one in verdicts]
    return Verdict(*torch.stack(rows).mean(dim=0))


@dataclass(frozen=True)
class Sight:
    """How images are looked at in one step: at its moment, by its draws."""

    draws: Draws
    moment: Moment


class Judge:
    """One discriminator and the rules that it learns by.

    Args:
        network: images [n, c, h, w] (and classes [n], where conditional) to logits, [n], [n, m] or a map [n, 1, h, w].
        run: whose tricks it takes.
        rules: by default those of the run's options.
    """

    def __init__(self, network: nn.Module, run: Run, stage: Stage, rules: Rules | None = None) -> None:
        self.network, self.options, self.stage = network, run.game, stage
        self.rules = rules or rules_of(run)
        self.joined = not couples_images(network)
        self.synced = stage.for_training(network)
        self.both = Pass(self._both, network, graphs=stage.graphs)
        self.one = Pass(self._one, network, graphs=stage.graphs)

    def sight(self, seed: int, moment: Moment, part: int = 0, parts: int = 1) -> Sight:
        """How to look at the images of a step, or at those of one part of it."""
        return Sight(self.stage.draws(seed, moment.step, TRICKS, part, parts), moment)

    def discriminator_loss(self, *, real: Tensor, fake: Tensor, sight: Sight, classes: Tensor | None = None) -> Verdict:
        """The discriminator's loss on n real and n fake images [n, c, h, w], the latter cut off from their generator.

        Label noise exchanges the labels of a real and a fake image; where logits are a map, of all their patches, since
        the patches of an image are not independent. Penalties are on the gradient of an image's mean logit, since the
        loss is a mean over the map; its squares are summed over the image's pixels, as both papers write the norm.
        """
        options, rules = self.options, self.rules
        real, fake = self._seen(real, sight), self._seen(fake, sight)
        real_logits, fake_logits = self.both(real, fake, *given(classes))
        as_real, as_fake = real_logits, fake_logits
        if options.label_noise:
            exchanged = sight.draws.uniform(len(real), *(1,) * (real_logits.ndim - 1)) < options.label_noise
            as_real = torch.where(exchanged, fake_logits, real_logits)
            as_fake = torch.where(exchanged, real_logits, fake_logits)
        loss = rules.loss.discriminator(real=as_real, fake=as_fake, real_target=1 - options.label_smoothing)
        loss = rules.scale * loss
        total = loss
        for penalty in rules.penalties:
            if weight := penalty.weight(sight.moment):
                total = total + penalty.term(Critic(self.synced, classes), real, fake, sight.draws, weight)
        return Verdict(total, loss.detach(), real_logits.detach().mean(), fake_logits.detach().mean())

    def clip(self) -> None:
        """After a step: clamps the weights, for the loss that asks for it."""
        limit = self.rules.loss.weight_clip
        if limit is not None:
            with torch.no_grad():
                for parameter in self.network.parameters():
                    parameter.clamp_(-limit, limit)

    def generator_loss(
        self, *, fake: Tensor, real: Tensor, sight: Sight, classes: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """What the generator of `fake` [n, c, h, w] minimises: its adversarial loss, and weighted feature matching.

        To be called while the network is frozen. `real` is looked at by paired losses and for feature matching only.
        """
        loss, weight = self.rules.loss, self.options.feature_matching
        fake = self._seen(fake, sight)
        beside = self._seen(real, sight) if loss.paired or weight else None
        logits = self.one(fake, *given(classes))
        real_logits = None
        if loss.paired and beside is not None:
            with torch.no_grad():
                real_logits = self._one(beside, *given(classes))
        adversarial = self.rules.scale * loss.generator(fake=logits, real=real_logits)
        if not weight or beside is None:
            return adversarial, None
        patches = logits.ndim == 4
        with self.stage.autocast():
            shown = self._expected(fake, patches)
            with torch.no_grad():
                wanted = self._expected(beside, patches)
        return adversarial, weight * feature_matching(real=[wanted], fake=[shown])

    def _expected(self, images: Tensor, patches: bool) -> Tensor:
        """The expected activations of the last hidden layer over the whole batch, [1, ...].

        Of a discriminator whose logits are a map [1, c], over all patches: to it, each patch is a sample.
        """
        activations = self.network.features(images)[-1].float()  # type: ignore[operator]
        if patches:
            activations = activations.mean(dim=(2, 3))
        return self.stage.batch_mean(activations.mean(dim=0, keepdim=True))

    def _seen(self, images: Tensor, sight: Sight) -> Tensor:
        """Images as the discriminator sees them: augmented, and with instance noise (Sonderby et al. 2017)."""
        chance, deviation = self.rules.augmented(sight.moment), self.rules.noise(sight.moment)
        augmented = diff_augment(images, self.options.policy, sight.draws)
        if chance < 1 and self.options.policy:
            augmented = torch.where(sight.draws.uniform(len(images), 1, 1, 1) < chance, augmented, images)
        if deviation > 0:
            augmented = augmented + deviation * sight.draws.normal(*images.shape)
        return augmented

    def _both(self, real: Tensor, fake: Tensor, *classes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of real and fake images, in one pass where that gives the same."""
        with self.stage.autocast():
            if not self.joined:
                with parametrize.cached():  # spectral norm settles the weights once a step, not once a pass
                    return self.synced(real, *classes).float(), self.synced(fake, *classes).float()
            twice = (torch.cat([part, part]) for part in classes)
            real_logits, fake_logits = self.synced(torch.cat([real, fake]), *twice).float().chunk(2)
            return real_logits, fake_logits

    def _one(self, fake: Tensor, *classes: Tensor) -> Tensor:
        """Logits of fake images for their generator, whose gradients are all that is averaged over processes."""
        with self.stage.autocast():
            logits: Tensor = self.network(fake, *classes).float()
            return logits


def couples_images(network: nn.Module) -> bool:
    """Whether what a network says of an image depends on the others of its batch: then real and fake stay apart."""
    return any(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.SyncBatchNorm) for layer in network.modules())


def given(classes: Tensor | None) -> tuple[Tensor, ...]:
    """The argument after images or latents that a network with classes takes, and one without does not."""
    return () if classes is None else (classes,)

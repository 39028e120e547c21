"""The discriminator's side of a game: what it sees, what it minimises, and what it tells the generator.

Both games put their discriminators into a `Judge` each, so every loss and trick of the trade is one flag in either. A
`Judge` trains nothing by itself: a game adds up what its judges give and takes the step
(`training.games.optimize.descend`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from training.engine.draws import Draws
from training.engine.graphs import Pass
from training.engine.stage import Moment, Stage
from training.objective.augment import diff_augment
from training.objective.losses import LOSSES
from training.objective.terms import feature_matching, gradient_penalty, r1_penalty
from training.options.shared import Adversary

TRICKS = 2**32  # the purpose of a step's draws here; a game's own are below it


@dataclass(frozen=True)
class Verdict:
    """What a discriminator minimises (loss and penalties), and what to log of it: the loss and its mean logits."""

    total: Tensor
    loss: Tensor
    real: Tensor
    fake: Tensor


@dataclass(frozen=True)
class Sight:
    """How images are looked at in one step: the draws of its tricks, and the deviation of instance noise."""

    draws: Draws
    noise: float


class Judge:
    """One discriminator and the rules that it learns by.

    Args:
        network: images [n, c, h, w] (and classes [n], where conditional) to logits, [n] or a map [n, 1, h', w'].
        options: the run's loss and tricks.
        joined: whether real and fake images may share a pass. Not with batch norm, whose two batches must stay apart.
        patches: whether the discriminator judges patches, and its logits are a map.
    """

    def __init__(
        self, network: nn.Module, options: Adversary, stage: Stage, *, joined: bool = True, patches: bool = False
    ) -> None:
        self.network, self.options, self.stage = network, options, stage
        self.joined, self.patches = joined, patches
        self.loss = LOSSES[options.loss]
        self.synced = stage.synced(network)
        self.both = Pass(self._both, network, graphs=stage.graphs)
        self.one = Pass(self._one, network, graphs=stage.graphs)

    def sight(self, seed: int, moment: Moment) -> Sight:
        """How to look at the images of a step. Instance noise falls linearly to 0 over the run."""
        return Sight(
            self.stage.draws(seed, moment.step, TRICKS),
            self.options.instance_noise * (1 - moment.images / moment.total),
        )

    def discriminator_loss(self, *, real: Tensor, fake: Tensor, sight: Sight, classes: Tensor | None = None) -> Verdict:
        """The discriminator's loss on n real and n fake images [n, c, h, w], the latter cut off from their generator.

        Label noise exchanges the labels of a real and a fake image; where logits are a map, of all their patches, since
        the patches of an image are not independent. Penalties are on the gradient of an image's mean logit, since the
        loss is a mean over the map; its squares are summed over the image's pixels, as both papers write the norm.
        """
        options = self.options
        real, fake = self._seen(real, sight), self._seen(fake, sight)
        real_logits, fake_logits = self.both(real, fake, *given(classes))
        as_real, as_fake = real_logits, fake_logits
        if options.label_noise:
            exchanged = sight.draws.uniform(len(real), *(1,) * (real_logits.ndim - 1)) < options.label_noise
            as_real = torch.where(exchanged, fake_logits, real_logits)
            as_fake = torch.where(exchanged, real_logits, fake_logits)
        loss = self.loss.discriminator(real=as_real, fake=as_fake, real_target=1 - options.label_smoothing)
        total = loss
        critic = Critic(self.synced, classes)
        if self.loss.gradient_penalty is not None:
            weight = self.loss.gradient_penalty
            total = total + gradient_penalty(critic, real=real, fake=fake, weight=weight, draws=sight.draws)
        if options.r1:
            total = total + r1_penalty(critic, real=real, weight=options.r1)
        return Verdict(total, loss.detach(), real_logits.detach().mean(), fake_logits.detach().mean())

    def clip(self) -> None:
        """After a step: clamps the weights, for the loss that asks for it."""
        if self.loss.weight_clip is not None:
            with torch.no_grad():
                for parameter in self.network.parameters():
                    parameter.clamp_(-self.loss.weight_clip, self.loss.weight_clip)

    def generator_loss(
        self, *, fake: Tensor, real: Tensor, sight: Sight, classes: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """What the generator of `fake` [n, c, h, w] minimises: its adversarial loss, and weighted feature matching.

        To be called while the network is frozen. `real` is looked at for feature matching only.
        """
        weight = self.options.feature_matching
        fake = self._seen(fake, sight)
        loss = self.loss.generator(fake=self.one(fake, *given(classes)))
        if not weight:
            return loss, None
        with self.stage.autocast():
            shown = self._expected(fake)
            with torch.no_grad():
                wanted = self._expected(self._seen(real, sight))
        return loss, weight * feature_matching(real=[wanted], fake=[shown])

    def _expected(self, images: Tensor) -> Tensor:
        """The expected activations of the last hidden layer over the whole batch, [1, ...].

        Of a patch discriminator [1, c], over all patches: to it, each patch is a sample.
        """
        activations = self.network.features(images)[-1].float()  # type: ignore[operator]
        if self.patches:
            activations = activations.mean(dim=(2, 3))
        return self.stage.batch_mean(activations.mean(dim=0, keepdim=True))

    def _seen(self, images: Tensor, sight: Sight) -> Tensor:
        """Images as the discriminator sees them: augmented, and with instance noise (Sonderby et al. 2017)."""
        images = diff_augment(images, self.options.policy, sight.draws)
        if sight.noise > 0:
            images = images + sight.noise * sight.draws.normal(*images.shape)
        return images

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


@dataclass(frozen=True)
class Critic:
    """A discriminator of images alone, in full precision: penalties differentiate it twice."""

    network: nn.Module
    classes: Tensor | None

    def __call__(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images, *given(self.classes))
        return logits


def given(classes: Tensor | None) -> tuple[Tensor, ...]:
    """The argument after images or latents that a network with classes takes, and one without does not."""
    return () if classes is None else (classes,)

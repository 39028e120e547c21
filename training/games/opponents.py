"""The discriminators' side of a game over unpaired photos: whoever tells photos of a domain from translations to it."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models import PatchGANConfig
from training.engine.stage import Moment, Stage
from training.games.architectures import config_of
from training.games.judge import Judge, Sight, rules_of
from training.games.optimize import Mover
from training.games.pool import ImagePool
from training.games.unpaired_options import UnpairedRun
from training.networks.backbone_weights import backbone
from training.networks.projected import ProjectedDiscriminator

Photos = dict[str, Tensor]
"""Of domain "a", of "b" or of both: [n, c, s, s] in [-1, 1]."""


class Opponents:
    """A discriminator of each domain that is translated to, with its judge and its pool; one optimizer moves them all.

    Args:
        domains: "a", "b" or both.

    Raises:
        WeightsUnavailable: projected ones, and the backbone's weights are not at hand.
    """

    def __init__(self, run: UnpairedRun, stage: Stage, domains: Sequence[str]) -> None:
        self.weight = run.game.adversarial
        made = _discriminators(run, len(domains))
        self.networks = {domain: stage.place(network) for domain, network in zip(domains, made, strict=True)}
        self.together = nn.ModuleList(self.networks.values())
        self.mover = Mover(self.together, run.optimizer.d_rate, run.optimizer)
        # the papers write losses without a factor before their expectations (CycleGAN's section 3.1)
        rules = rules_of(run)
        rules = dataclasses.replace(rules, scale=1 / rules.loss.scale)
        self.judges = {domain: Judge(network, run, stage, rules) for domain, network in self.networks.items()}
        self.pools = {domain: ImagePool(run.game.pool) for domain in domains}

    def sight(self, seed: int, moment: Moment) -> Sight:
        """How to look at the images of a step."""
        return next(iter(self.judges.values())).sight(seed, moment)

    def to_deceive(self, domain: str, fake: Tensor, real: Tensor, sight: Sight) -> tuple[Tensor, Tensor]:
        """What the generator of `fake` minimises, with its weight and with feature matching; and the adversarial loss.

        Both are 0 where discriminators do not judge. To be called while they are frozen.
        """
        if not self.weight:
            nothing = torch.zeros((), device=fake.device)
            return nothing, nothing
        adversarial, matched = self.judges[domain].generator_loss(fake=fake, real=real, sight=sight)
        return self.weight * (adversarial if matched is None else adversarial + matched), adversarial.detach()

    def shown(self, fakes: Photos, pooled: torch.Generator) -> Photos:
        """The newest translations, some of them exchanged for older ones of the pools."""
        return {domain: pool.exchange(fakes[domain], pooled) for domain, pool in self.pools.items()}

    def step(self, real: Photos, fake: Photos, sight: Sight) -> tuple[Tensor, dict[str, Tensor]]:
        """One step of all discriminators. Returns their loss, and the mean logits of real and fake photos."""
        verdicts = [
            judge.discriminator_loss(real=real[domain], fake=fake[domain], sight=sight)
            for domain, judge in self.judges.items()
        ]
        # halved, as the papers do to slow the discriminators down against the generators (CycleGAN's appendix 7.1)
        self.mover.descend(0.5 * torch.stack([verdict.total for verdict in verdicts]).sum())
        for judge in self.judges.values():
            judge.clip()
        logits = {
            "d_real": torch.stack([verdict.real for verdict in verdicts]).mean(),
            "d_fake": torch.stack([verdict.fake for verdict in verdicts]).mean(),
        }
        return 0.5 * torch.stack([verdict.loss for verdict in verdicts]).sum(), logits


def _discriminators(run: UnpairedRun, count: int) -> list[nn.Module]:
    network = run.network
    if network.discriminator == "projected":
        eyes, size, width = backbone(), run.data.image_size, network.discriminator_width
        return [ProjectedDiscriminator(eyes, size, width=width) for _ in range(count)]
    patch = config_of(PatchGANConfig, run, beside="discriminator_")
    return [patch.build() for _ in range(count)]

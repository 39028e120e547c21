"""The translator's game: two generators and two discriminators over unpaired photos (Zhu, Park, Isola, Efros 2017).

Passes that go through the same network are joined into one larger batch wherever the result is the same (instance norm
looks at one image at a time). With attention the generators also give masks (`masks.py`).
"""

from functools import partial

import torch
from torch import Tensor, nn

from training.engine.stage import Stage
from training.games.cyclegan_options import CycleGANRun
from training.games.game import game
from training.games.judge import Sight
from training.games.opponents import Photos
from training.games.translator import Domains
from training.games.unpaired import TARGETS, UnpairedGame
from training.objective.terms import cycle_consistency, identity_mapping, inception_features, perceptual


@game
class CycleGAN(UnpairedGame):
    """The generators' side, of two directions."""

    Run = CycleGANRun
    about = "Train a translator: CycleGAN, on two folders of photos."
    run: CycleGANRun

    def __init__(self, run: CycleGANRun, data: Domains, stage: Stage) -> None:
        both = ("a_to_b", "b_to_a")
        super().__init__(run, data, stage, both, both if run.game.learns == "both" else (run.game.learns,))
        self.a_to_b, self.b_to_a = self.generators
        self.perception = inception_features(stage.device) if run.game.perceptual else None
        self.synced = {}
        for name, network in zip(both, self.generators, strict=True):
            beside = self.masks.beside(network)
            self.synced[name] = stage.for_training(beside) if name in self.learning else beside

    def _generator_step(self, real: Photos, sight: Sight) -> tuple[Photos, dict[str, Tensor]]:
        """Equation 3 of the paper, with the identity loss of its section 5.2; terms are summed over the directions."""
        return self._each_direction(real, partial(self._direction, sight))

    def _direction(self, sight: Sight, name: str, source: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Adds one direction's gradients: photos translated to a domain, judged among those of it, and taken back."""
        game, domain = self.run.game, TARGETS[name]
        forth, back = self.synced[name], self.synced["b_to_a" if domain == "b" else "a_to_b"]
        with self.stage.autocast():
            fake, same, masks = self._translate(forth, source, target)
            round_trip = self._composed(back, fake)[0] if game.cycle else None
        total, loss_g = self.opponents.to_deceive(domain, fake, target, sight)
        terms = {"loss_g": loss_g}
        if round_trip is not None:
            cycle = cycle_consistency(image=source, round_trip=round_trip)
            terms["cycle"] = cycle.detach()
            total = total + game.cycle * cycle
            if self.perception:
                seen = perceptual(self.perception, image=round_trip.float(), target=source)
                total = total + game.perceptual * seen
        if same is not None:
            identity = identity_mapping(image=target, translated=same)
            total = total + game.cycle * game.identity * identity
            terms["identity"] = identity.detach()
        if masks is not None:
            own, told = self.masks.loss(masks, source)
            total, terms = total + own, terms | told
        total.backward()
        return fake.detach().float(), terms

    def _composed(self, generator: nn.Module, photos: Tensor) -> tuple[Tensor, Tensor | None]:
        """Translations, and the masks of a generator with attention."""
        return self.masks.blend(generator(photos), photos)

    def _translate(
        self, generator: nn.Module, source: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The source translated; the target domain's photos, which should come back as they are; the source's masks."""
        if not self.run.game.identity:
            fake, masks = self._composed(generator, source)
            return fake, None, masks
        both, masks = self._composed(generator, torch.cat([source, target]))
        fake, same = both.chunk(2)
        return fake, same, None if masks is None else masks[: len(source)]

"""The sampler's game: a generator of images from latents against a discriminator (Goodfellow et al. 2014, algorithm 1).

One iteration is `d_steps` steps of the discriminator and `g_steps` of the generator. The first generator step uses
the fakes that the last discriminator step has seen, as DCGAN's own code does: one pass through the generator less.
"""

import torch
from torch import Tensor, nn

from models import discriminators
from training.data.images import Dataset, Stream
from training.engine.draws import generator_of
from training.engine.ema import Average
from training.engine.graphs import Pass
from training.engine.stage import Moment, Stage
from training.games.architectures import config_of
from training.games.dcgan_options import NETWORKS, DCGANRun
from training.games.game import Game, Players, Step, game
from training.games.judge import Judge, Sight, Verdict, given
from training.games.optimize import Mover, frozen
from training.games.sampler import Sampler, latents_of, read_images
from training.networks.backbone_weights import backbone
from training.networks.projected import ProjectedDiscriminator
from training.objective.terms import feature_matching, inception_features


def discriminator(run: DCGANRun, classes: int) -> nn.Module:
    """A run's discriminator.

    Raises:
        WeightsUnavailable: a projected one, and the backbone's weights are not at hand.
    """
    network = run.network
    if network.discriminator == "projected":
        return ProjectedDiscriminator(
            backbone(),
            run.data.image_size,
            width=network.discriminator_width,
            side=network.feature_size,
            classes=classes,
        )
    return config_of(discriminators()[network.discriminator], run, beside="discriminator_", classes=classes).build()


@game
class DCGAN(Game):
    """The players of one run and the steps they take."""

    Run = DCGANRun
    about = "Train a sampler: DCGAN, or another generator of images from latents, on a folder of images."
    read = staticmethod(read_images)

    def __init__(self, run: DCGANRun, data: Dataset, stage: Stage) -> None:
        self.run, self.data, self.stage = run, data, stage
        self.images_per_step = run.pace.batch * run.game.d_steps
        config = config_of(NETWORKS[run.network.network], run, classes=len(data.classes))
        self.generator = stage.place(config.parts()["generator"])
        self.discriminator = stage.place(discriminator(run, len(data.classes)))
        self.average = Average(self.generator, run.optimizer.ema_kimg * 1000)
        self.g_mover = Mover(self.generator, run.optimizer.g_rate, run.optimizer)
        self.d_mover = Mover(self.discriminator, run.optimizer.d_rate, run.optimizer)
        self.players = Players(
            networks={"generator": self.generator, "discriminator": self.discriminator},
            optimizers={"generator": self.g_mover.optimizer, "discriminator": self.d_mover.optimizer},
            averages={"generator": self.average},
        )
        self.family = Sampler(run, data, stage, config, self.players.averages)
        self.stream = Stream(
            data, run.pace.seed, run.data.image_size, flips=run.data.flips, device=stage.device, share=stage.share
        )
        self.perception = inception_features(stage.device) if run.game.perceptual else None
        self.synced_generator = stage.for_training(self.generator)
        self.generated = Pass(self._generated, self.generator, graphs=stage.graphs)
        self.judge = Judge(self.discriminator, run.game, stage)

    @property
    def data_seconds(self) -> float:
        return self.stream.seconds

    def step(self, moment: Moment) -> Step:
        """`d_steps` discriminator steps, then `g_steps` generator steps."""
        run, seed = self.run, self.run.pace.seed
        draws = generator_of(seed, moment.step, 0)
        sight = self.judge.sight(seed, moment)
        # dropout knows torch's global generator only
        torch.manual_seed(generator_of(seed, moment.step, 1 + self.stage.rank).initial_seed())
        self.g_mover.at(moment)
        self.d_mover.at(moment)
        for number in range(run.game.d_steps):
            real, classes = self.stream.take(moment.images + number * run.pace.batch, run.pace.batch, draws)
            last = number == run.game.d_steps - 1
            with torch.set_grad_enabled(last):
                fake = self._fake(draws, classes)
            verdict = self._discriminator_step(real, fake.detach(), classes, sight)
        for number in range(run.game.g_steps):
            if number:
                fake = self._fake(draws, classes)
            loss_g = self._generator_step(fake, real, classes, sight)
        self.average.update(self.generator, self.images_per_step, moment.images + self.images_per_step)
        logits = {"d_real": verdict.real, "d_fake": verdict.fake}
        return Step(verdict.loss, loss_g, self.g_mover.gradient_norm(), logits)

    def _discriminator_step(self, real: Tensor, fake: Tensor, classes: Tensor | None, sight: Sight) -> Verdict:
        verdict = self.judge.discriminator_loss(real=real, fake=fake, sight=sight, classes=classes)
        self.d_mover.descend(verdict.total)
        self.judge.clip()
        return verdict

    def _generator_step(self, fake: Tensor, real: Tensor, classes: Tensor | None, sight: Sight) -> Tensor:
        """Returns the adversarial loss."""
        with frozen(self.discriminator):
            loss, matched = self.judge.generator_loss(fake=fake, real=real, sight=sight, classes=classes)
            total = loss if matched is None else loss + matched
            if self.perception:
                shown, wanted = (
                    self.stage.batch_mean(self.perception(images).mean(dim=0, keepdim=True)) for images in (fake, real)
                )
                total = total + self.run.game.perceptual * feature_matching(real=[wanted], fake=[shown])
            self.g_mover.descend(total)
        return loss.detach()

    def _fake(self, draws: torch.Generator, classes: Tensor | None) -> Tensor:
        """Generated images, of the same classes as the real ones beside them."""
        latents = latents_of(self.stage, self.run.pace.batch, self.run.network.latent_size, draws)
        fake: Tensor = self.generated(latents, *given(classes))
        return fake

    def _generated(self, *inputs: Tensor) -> Tensor:
        with self.stage.autocast():
            fake: Tensor = self.synced_generator(*inputs).float()
            return fake

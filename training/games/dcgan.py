"""The sampler's game: a generator of images from latents against a discriminator (Goodfellow et al. 2014, algorithm 1).

One iteration is `d_steps` steps of the discriminator and `g_steps` of the generator. The first generator step uses
the fakes that the last discriminator step has seen, as DCGAN's own code does: one pass through the generator less.

Where a batch is taken in parts (`--accumulate`), gradients of all parts are added up before a step. Fakes are then
drawn twice, since keeping those of all parts would take the memory that parts are to save; and spectral norm's power
iteration goes on once a batch, not once a part, so that all parts meet the same weights.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models import InputError, SamplerConfig, discriminators, filters_of, held_spectral_norm, put_spectral_norm
from training.data.images import Dataset, Stream
from training.engine.draws import generator_of
from training.engine.ema import Average
from training.engine.graphs import Pass
from training.engine.stage import Moment, Stage
from training.games.architectures import config_of
from training.games.dcgan_options import NETWORKS, DCGANRun
from training.games.game import Game, Players, Step, game
from training.games.judge import Judge, Sight, Verdict, given, mean_verdict
from training.games.optimize import Mover, frozen
from training.games.sampler import Sampler, latents_of, read_images
from training.networks.backbone_weights import backbone
from training.networks.projected import ProjectedDiscriminator
from training.objective.terms import feature_matching, inception_features, orthogonal


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


def generator(run: DCGANRun, config: SamplerConfig) -> nn.Module:
    """A run's generator."""
    network = config.parts()["generator"]
    if run.network.generator_norm == "spectral":
        put_spectral_norm(network, embeddings=False)
    return network


@dataclass(frozen=True)
class Part:
    """A part of a batch that goes through the networks at once, and how it is looked at.

    real: [n, c, s, s] in [-1, 1].  classes: int64 [n], of real and generated images alike.  latents: [n, latent].
    """

    real: Tensor
    classes: Tensor | None
    latents: Tensor
    sight: Sight


@game
class DCGAN(Game):
    """The players of one run and the steps they take."""

    Run = DCGANRun
    about = "Train a sampler: DCGAN, or another generator of images from latents, on a folder of images."
    read = staticmethod(read_images)

    def __init__(self, run: DCGANRun, data: Dataset, stage: Stage) -> None:
        self.run, self.data, self.stage = run, data, stage
        self.images_per_step = run.pace.batch * run.game.d_steps
        if run.pace.batch % (stage.world * run.parts):
            raise InputError(
                f"--accumulate {run.parts} parts of {stage.world} processes do not divide --batch {run.pace.batch}.",
                where="accumulate",
            )
        config = config_of(NETWORKS[run.network.network], run, classes=len(data.classes))
        self.generator = stage.place(generator(run, config))
        self.discriminator = stage.place(discriminator(run, len(data.classes)))
        self.average = Average(self.generator, run.optimizer.half_life)
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
        self.judge = Judge(self.discriminator, run, stage)

    @property
    def data_seconds(self) -> float:
        return self.stream.seconds

    def step(self, moment: Moment) -> Step:
        """`d_steps` discriminator steps, then `g_steps` generator steps."""
        run, seed = self.run, self.run.pace.seed
        draws = generator_of(seed, moment.step, 0)
        sights = [self.judge.sight(seed, moment, part, run.parts) for part in range(run.parts)]
        # dropout knows torch's global generator only
        torch.manual_seed(generator_of(seed, moment.step, 1 + self.stage.rank).initial_seed())
        self.g_mover.at(moment)
        self.d_mover.at(moment)
        for number in range(run.game.d_steps):
            real, classes = self.stream.take(moment.images + number * run.pace.batch, run.pace.batch, draws)
            parts = self._parts(real, classes, self._latents(draws), sights)
            last = number == run.game.d_steps - 1
            verdict, fake = self._discriminator_step(parts, keep=last and len(parts) == 1)
        for number in range(run.game.g_steps):
            if number:
                parts, fake = self._parts(real, classes, self._latents(draws), sights), None
            loss_g = self._generator_step(parts, fake, seen=number == 0)
        self.average.update(self.generator, self.images_per_step, moment.after(self.images_per_step))
        logits = {"d_real": verdict.real, "d_fake": verdict.fake}
        return Step(verdict.loss, loss_g, self.g_mover.gradient_norm(), logits)

    def _latents(self, draws: torch.Generator) -> Tensor:
        return latents_of(self.stage, self.run.pace.batch, self.run.network.latent_size, draws)

    def _parts(self, real: Tensor, classes: Tensor | None, latents: Tensor, sights: list[Sight]) -> list[Part]:
        """This process's share of a batch in equal parts; generated images are of the classes of the real ones."""
        count = len(sights)
        each = [None] * count if classes is None else classes.chunk(count)
        return [Part(*one) for one in zip(real.chunk(count), each, latents.chunk(count), sights, strict=True)]

    def _discriminator_step(self, parts: list[Part], *, keep: bool) -> tuple[Verdict, Tensor | None]:
        """One step on all parts: the mean of their verdicts, and the one part's fakes where they are to be kept."""
        verdicts: list[Verdict] = []
        with self.d_mover.step():
            for part in parts:
                later = bool(verdicts)
                with held_spectral_norm(self.generator, when=later), held_spectral_norm(self.discriminator, when=later):
                    with torch.set_grad_enabled(keep):
                        fake = self._fake(part)
                    verdict = self.judge.discriminator_loss(
                        real=part.real, fake=fake.detach(), sight=part.sight, classes=part.classes
                    )
                    (verdict.total / len(parts)).backward()
                verdicts.append(verdict)
        self.judge.clip()
        return mean_verdict(verdicts), fake if keep else None

    def _generator_step(self, parts: list[Part], kept: Tensor | None, *, seen: bool) -> Tensor:
        """One step on all parts. Returns the adversarial loss.

        Args:
            kept: the one part's fakes, where the discriminator's step kept them.
            seen: the discriminator's step drew from the same latents, so spectral norm has gone on for them.
        """
        losses: list[Tensor] = []
        with frozen(self.discriminator), self.g_mover.step():
            for part in parts:
                later = bool(losses)
                with held_spectral_norm(self.generator, when=kept is None and (seen or later)):
                    fake = self._fake(part) if kept is None else kept
                with held_spectral_norm(self.discriminator, when=later):
                    loss, total = self._generator_loss(fake, part)
                (total / len(parts)).backward()
                losses.append(loss.detach())
            if self.run.game.orthogonal:
                (self.run.game.orthogonal * orthogonal(filters_of(self.generator))).backward()
        return torch.stack(losses).mean()

    def _generator_loss(self, fake: Tensor, part: Part) -> tuple[Tensor, Tensor]:
        """The adversarial loss, and all that the generator minimises."""
        loss, matched = self.judge.generator_loss(fake=fake, real=part.real, sight=part.sight, classes=part.classes)
        total = loss if matched is None else loss + matched
        if self.perception:
            shown, wanted = (
                self.stage.batch_mean(self.perception(images).mean(dim=0, keepdim=True)) for images in (fake, part.real)
            )
            total = total + self.run.game.perceptual * feature_matching(real=[wanted], fake=[shown])
        return loss, total

    def _fake(self, part: Part) -> Tensor:
        """Generated images [n, c, s, s]."""
        fake: Tensor = self.generated(part.latents, *given(part.classes))
        return fake

    def _generated(self, *inputs: Tensor) -> Tensor:
        with self.stage.autocast():
            fake: Tensor = self.synced_generator(*inputs).float()
            return fake

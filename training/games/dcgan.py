"""The sampler's game: a generator of images from latents against a discriminator (Goodfellow et al. 2014, algorithm 1).

One iteration is `d_steps` steps of the discriminator and `g_steps` of the generator. The first generator step uses
the fakes that the last discriminator step has seen, as DCGAN's own code does: one pass through the generator less.
"""

import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from models import (
    DCGANConfig,
    DCGANDiscriminatorConfig,
    MaxoutConfig,
    Metadata,
    MLPConfig,
    SamplerConfig,
    draw,
    grid,
    metadata_of,
    sample_seeds,
    to_uint8,
)
from models.images import Pixels
from training.data.images import Dataset, batch, indices
from training.engine.draws import generator_of
from training.engine.ema import Average, standing_statistics
from training.engine.graphs import Pass
from training.engine.stage import Moment, Stage
from training.games.dcgan_options import DCGANRun
from training.games.game import Evaluation, Players, Scalars
from training.games.judge import Judge, Sight, given
from training.games.optimize import adam, descend, frozen, gradient_norm, mean_distance, set_rates
from training.networks.backbone_weights import backbone
from training.networks.projected import ProjectedDiscriminator
from training.objective.terms import feature_matching, inception_features
from training.run.start import begin_with

SHEET = 64  # samples on a picture
STANDING_BATCHES = 16  # of SHEET latents each, to measure batch norm's statistics
STANDING_SEED, FID_SEED = 2**40, 2**41  # latents far away from the picture's


def generator_config(run: DCGANRun, classes: int) -> SamplerConfig:
    """The architecture of a run's generator."""
    network, data = run.network, run.data
    if network.network == "mlp":
        return MLPConfig(data.image_size, data.channels, network.latent_size, network.hidden)
    return DCGANConfig(
        image_size=data.image_size,
        channels=data.channels,
        latent_size=network.latent_size,
        width=network.width,
        max_multiplier=network.max_multiplier,
        classes=classes,
        class_embedding=network.class_embedding,
    )


def discriminator_config(run: DCGANRun, classes: int) -> DCGANDiscriminatorConfig | MaxoutConfig:
    """The architecture of a run's discriminator."""
    network, data = run.network, run.data
    if network.network == "mlp":
        return MaxoutConfig(data.image_size, data.channels, network.discriminator_hidden, dropout=network.dropout)
    assert network.discriminator_norm != "auto"  # the run has settled it
    return DCGANDiscriminatorConfig(
        image_size=data.image_size,
        channels=data.channels,
        width=network.discriminator_width,
        max_multiplier=network.max_multiplier,
        norm=network.discriminator_norm,
        refine=network.refine,
        dropout=network.dropout,
        classes=classes,
    )


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
    return discriminator_config(run, classes).build()


class DCGANGame:
    """The players of one run and the steps they take (`training.games.game.Game`)."""

    def __init__(self, run: DCGANRun, data: Dataset, stage: Stage) -> None:
        self.run, self.data, self.stage = run, data, stage
        self.images_per_step = run.pace.batch * run.game.d_steps
        self.data_seconds = 0.0
        self.data_bytes = data.pixels.nbytes
        self.generator_config = generator_config(run, len(data.classes))
        generators = self.generator_config.parts()
        self.generator = generators["generator"]
        self.discriminator = discriminator(run, len(data.classes))
        judges = {"discriminator": self.discriminator}
        networks = generators | judges
        for network in networks.values():
            stage.place(network)
        start = run.network.start
        self.origin = {"start": begin_with(start, generators, judges)} if start else {}
        self.average = Average(self.generator, run.optimizer.ema_kimg * 1000)
        self.g_optimizer = adam(self.generator, run.optimizer.g_lr, run.optimizer)
        self.d_optimizer = adam(self.discriminator, run.optimizer.d_lr, run.optimizer)
        self.players = Players(
            networks=networks,
            optimizers={"generator": self.g_optimizer, "discriminator": self.d_optimizer},
            averages={"generator": self.average},
        )
        self.perception = inception_features(stage.device) if run.game.perceptual else None
        self.synced_generator = stage.synced(self.generator)
        self.generated = Pass(self._generated, self.generator, graphs=stage.graphs)
        self.judge = Judge(self.discriminator, run.game, stage, joined=run.network.discriminator_norm != "batch")

    # --- training ---

    def step(self, moment: Moment) -> Scalars:
        """`d_steps` discriminator steps, then `g_steps` generator steps."""
        run, seed = self.run, self.run.pace.seed
        draws = generator_of(seed, moment.step, 0)
        sight = self.judge.sight(seed, moment)
        # dropout knows torch's global generator only
        torch.manual_seed(generator_of(seed, moment.step, 1 + self.stage.rank).initial_seed())
        set_rates(self.g_optimizer, run.optimizer.g_lr, run.optimizer, moment, run.optimizer.g_warmup_kimg)
        set_rates(self.d_optimizer, run.optimizer.d_lr, run.optimizer, moment)
        self.data_seconds = 0.0
        scalars: Scalars = {}
        for number in range(run.game.d_steps):
            real, classes = self._real(moment.images + number * run.pace.batch, draws)
            last = number == run.game.d_steps - 1
            with torch.set_grad_enabled(last):
                fake = self._fake(draws, classes)
            scalars |= self._discriminator_step(real, fake.detach(), classes, sight)
        for number in range(run.game.g_steps):
            if number:
                fake = self._fake(draws, classes)
            scalars |= self._generator_step(fake, real, classes, sight)
        self.average.update(self.generator, self.images_per_step, moment.images + self.images_per_step)
        return scalars

    def _discriminator_step(self, real: Tensor, fake: Tensor, classes: Tensor | None, sight: Sight) -> Scalars:
        verdict = self.judge.discriminator_loss(real=real, fake=fake, sight=sight, classes=classes)
        descend(self.d_optimizer, verdict.total)
        self.judge.clip()
        return {"loss_d": verdict.loss, "d_real": verdict.real, "d_fake": verdict.fake}

    def _generator_step(self, fake: Tensor, real: Tensor, classes: Tensor | None, sight: Sight) -> Scalars:
        with frozen(self.discriminator):
            loss, matched = self.judge.generator_loss(fake=fake, real=real, sight=sight, classes=classes)
            total = loss if matched is None else loss + matched
            if self.perception:
                shown, wanted = (
                    self.stage.batch_mean(self.perception(images).mean(dim=0, keepdim=True)) for images in (fake, real)
                )
                total = total + self.run.game.perceptual * feature_matching(real=[wanted], fake=[shown])
            descend(self.g_optimizer, total)
        return {"loss_g": loss.detach(), "g_gradient_norm": gradient_norm(self.generator)}

    def _real(self, start: int, draws: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """This process's share of the next real images, with their classes."""
        started = time.perf_counter()
        run, stage = self.run, self.stage
        chosen = indices(run.pace.seed, start, start + run.pace.batch, len(self.data))
        share = stage.share(run.pace.batch)
        images = batch(
            self.data.pixels,
            chosen,
            run.data.image_size,
            flips=run.data.flips,
            random=draws,
            device=stage.device,
            share=share,
        )
        labels = None if self.data.labels is None else self.data.labels[chosen[share]].to(stage.device)
        self.data_seconds += time.perf_counter() - started
        return images, labels

    def _fake(self, draws: torch.Generator, classes: Tensor | None) -> Tensor:
        """Generated images, of the same classes as the real ones beside them."""
        batch_size = self.run.pace.batch
        latents = torch.randn(batch_size, self.run.network.latent_size, generator=draws)
        latents = latents[self.stage.share(batch_size)].to(self.stage.device)
        fake: Tensor = self.generated(latents, *given(classes))
        return fake

    def _generated(self, *inputs: Tensor) -> Tensor:
        with self.stage.autocast():
            fake: Tensor = self.synced_generator(*inputs).float()
            return fake

    # --- showing and saving ---

    def rehearse(self) -> int:
        inputs = self._inputs(0, 2)
        fake = self.generator(*inputs)
        for _ in ("real", "fake"):
            self.discriminator(fake, *inputs[1:])
        return 2

    def refresh(self) -> None:
        standing_statistics(
            self.average.module,
            [self._inputs(STANDING_SEED + SHEET * number, SHEET) for number in range(STANDING_BATCHES)],
        )

    def picture(self) -> Pixels:
        return grid(self._samples(self.run.pace.seed, SHEET), columns=8)

    def variety(self) -> float:
        with torch.no_grad():
            fake = self.average.module(*self._inputs(self.run.pace.seed, SHEET))
        chosen = indices(self.run.pace.seed, 0, SHEET, len(self.data))
        real = batch(
            self.data.pixels,
            chosen,
            self.run.data.image_size,
            flips=False,
            random=torch.Generator(),
            device=self.stage.device,
        )
        return float(mean_distance(fake) / mean_distance(real))

    def evaluations(self) -> dict[str, Evaluation]:
        return {"": Evaluation(self._batches, self.data.pixels)}

    def weights(self) -> dict[str, nn.Module]:
        return {"generator": self.average.module}

    def metadata(self) -> Metadata:
        return metadata_of(
            self.generator_config,
            classes=self.data.classes or None,
            training=self.origin
            | {"dataset": self.data.name, "dataset_images": len(self.data), "dataset_digest": self.data.digest},
        )

    def _batches(self, count: int) -> Iterator[Pixels]:
        for start in range(0, count, SHEET):
            yield self._samples(FID_SEED + start, min(SHEET, count - start))

    def _samples(self, seed: int, count: int) -> Pixels:
        with torch.no_grad():
            return to_uint8(self.average.module(*self._inputs(seed, count)))

    def _inputs(self, seed: int, count: int) -> tuple[Tensor, ...]:
        """Latents, and classes in turn where the run has them, as the average takes them."""
        device, classes = self.stage.device, len(self.data.classes)
        latents = draw(sample_seeds(seed, count), self.run.network.latent_size).to(device)
        return (latents, torch.arange(count, device=device) % classes) if classes else (latents,)

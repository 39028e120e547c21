"""The sampler's game: a generator of images from latents against a discriminator (Goodfellow et al. 2014, algorithm 1).

One iteration is `d_steps` steps of the discriminator and `g_steps` of the generator. The first generator step uses
the fakes that the last discriminator step has seen, as DCGAN's own code does: one pass through the generator less.
"""

import dataclasses
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
    build_discriminator,
    build_generator,
    draw,
    grid,
    initialize,
    sample_seeds,
    to_uint8,
)
from models.architectures import DiscriminatorConfig
from models.images import Pixels
from training.augment import diff_augment
from training.config import DCGANRun
from training.data import Dataset, batch, indices
from training.ema import Average, standing_statistics
from training.game import (
    Evaluation,
    Moment,
    Players,
    Scalars,
    Stage,
    adam,
    frozen,
    generator_of,
    gradient_norm,
    mean_distance,
    set_rates,
)
from training.losses import LOSSES
from training.terms import feature_matching, gradient_penalty, inception_features, r1_penalty

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
    )


def discriminator_config(run: DCGANRun, classes: int) -> DiscriminatorConfig:
    """The architecture of a run's discriminator."""
    network, data = run.network, run.data
    if network.network == "mlp":
        return MaxoutConfig(data.image_size, data.channels, network.discriminator_hidden, dropout=network.dropout)
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


class DCGANGame:
    """The players of one run and the steps they take (`training.game.Game`)."""

    def __init__(self, run: DCGANRun, data: Dataset, stage: Stage) -> None:
        self.run, self.data, self.stage = run, data, stage
        self.loss = LOSSES[run.game.loss]
        self.images_per_step = run.pace.batch * run.game.d_steps
        self.data_seconds = 0.0
        self.data_bytes = data.pixels.nbytes
        self.generator_config = generator_config(run, len(data.classes))
        self.generator = build_generator(self.generator_config)
        self.discriminator = build_discriminator(discriminator_config(run, len(data.classes)))
        for network in (self.generator, self.discriminator):
            initialize(network)
        if data.classes and run.network.discriminator_norm != "spectral":
            # torch's N(0, 1) would drown the logit in sums over thousands of features: classes start without a say
            nn.init.normal_(self.discriminator.get_submodule("projection").weight, 0.0, 0.02)  # type: ignore[arg-type]
        for network in (self.generator, self.discriminator):
            stage.place(network)
        self.average = Average(self.generator, run.optimizer.ema_kimg * 1000)
        self.g_optimizer = adam(self.generator, run.optimizer.g_lr, run.optimizer)
        self.d_optimizer = adam(self.discriminator, run.optimizer.d_lr, run.optimizer)
        self.players = Players(
            networks={"generator": self.generator, "discriminator": self.discriminator},
            optimizers={"generator": self.g_optimizer, "discriminator": self.d_optimizer},
            averages={"generator": self.average},
        )
        self.perception = inception_features(stage.device) if run.game.perceptual else None
        self.synced_generator = stage.synced(self.generator)
        self.synced_discriminator = stage.synced(self.discriminator)

    # --- training ---

    def step(self, moment: Moment) -> Scalars:
        """`d_steps` discriminator steps, then `g_steps` generator steps."""
        run, size = self.run, self.run.pace.batch
        draws = generator_of(run.pace.seed, moment.step, 0)
        own = generator_of(run.pace.seed, moment.step, 1 + self.stage.rank, self.stage.device)
        torch.manual_seed(own.initial_seed())  # dropout knows torch's global generator only
        noise = run.game.instance_noise * (1 - moment.images / moment.total)
        set_rates(self.g_optimizer, run.optimizer.g_lr, run.optimizer, moment)
        set_rates(self.d_optimizer, run.optimizer.d_lr, run.optimizer, moment)
        self.data_seconds = 0.0
        scalars: Scalars = {}
        for number in range(run.game.d_steps):
            start = moment.images + number * size
            real, classes = self._real(start, draws)
            last = number == run.game.d_steps - 1
            with torch.set_grad_enabled(last):
                fake = self._fake(draws, classes)
            scalars |= self._discriminator_step(real, fake.detach(), classes, noise, own)
        for number in range(run.game.g_steps):
            if number:
                fake = self._fake(draws, classes)
            scalars |= self._generator_step(fake, real, classes, noise, own)
        self.average.update(self.generator, self.images_per_step, moment.images + self.images_per_step)
        return scalars

    def _discriminator_step(
        self, real: Tensor, fake: Tensor, classes: Tensor | None, noise: float, own: torch.Generator
    ) -> Scalars:
        game = self.run.game
        real, fake = self._seen(real, noise, own), self._seen(fake, noise, own)
        real_logits, fake_logits = self._judge(real, fake, classes)
        if game.label_noise:
            exchanged = torch.rand(len(real), generator=own, device=real.device) < game.label_noise
            truth_real, truth_fake = real_logits, fake_logits
            real_logits = torch.where(exchanged, truth_fake, truth_real)
            fake_logits = torch.where(exchanged, truth_real, truth_fake)
        loss = self.loss.discriminator(real=real_logits, fake=fake_logits, real_target=1 - game.label_smoothing)
        total = loss
        if self.loss.gradient_penalty is not None:
            weight = self.loss.gradient_penalty
            critic = self._critic(classes)
            total = total + gradient_penalty(critic, real=real, fake=fake, weight=weight, generator=own)
        if game.r1:
            total = total + r1_penalty(self._critic(classes), real=real, weight=game.r1)
        self.d_optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.d_optimizer.step()
        if self.loss.weight_clip is not None:
            with torch.no_grad():
                for parameter in self.discriminator.parameters():
                    parameter.clamp_(-self.loss.weight_clip, self.loss.weight_clip)
        return {
            "loss_d": loss.detach(),
            "d_real": real_logits.detach().mean(),
            "d_fake": fake_logits.detach().mean(),
        }

    def _generator_step(
        self, fake: Tensor, real: Tensor, classes: Tensor | None, noise: float, own: torch.Generator
    ) -> Scalars:
        game = self.run.game
        seen = self._seen(fake, noise, own)
        with frozen(self.discriminator):
            with self.stage.autocast():
                logits = self.discriminator(seen, classes)
            loss = self.loss.generator(fake=logits.float())
            total = loss
            if game.feature_matching:
                total = total + game.feature_matching * self._matched(seen, self._seen(real, noise, own))
            if self.perception:
                shown, wanted = self.perception(fake), self.perception(real)
                total = total + game.perceptual * feature_matching(real=[wanted], fake=[shown])
            self.g_optimizer.zero_grad(set_to_none=True)
            total.backward()
        self.g_optimizer.step()
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
        with self.stage.autocast():
            fake = self.synced_generator(latents, classes)
        return fake.float()

    def _seen(self, images: Tensor, noise: float, own: torch.Generator) -> Tensor:
        """Images as the discriminator sees them: augmented, and with instance noise (Sonderby et al. 2017)."""
        images = diff_augment(images, self.run.game.policy, own)
        if noise > 0:
            images = images + noise * torch.randn(images.shape, generator=own, device=images.device)
        return images

    def _judge(self, real: Tensor, fake: Tensor, classes: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits [b] of real and fake; in one pass, but for batch norm, whose two batches must stay apart."""
        with self.stage.autocast():
            if self.run.network.discriminator_norm == "batch":
                return (
                    self.synced_discriminator(real, classes).float(),
                    self.synced_discriminator(fake, classes).float(),
                )
            both = None if classes is None else torch.cat([classes, classes])
            real_logits, fake_logits = self.synced_discriminator(torch.cat([real, fake]), both).float().chunk(2)
            return real_logits, fake_logits

    def _critic(self, classes: Tensor | None) -> "Critic":
        return Critic(self.synced_discriminator, classes)

    def _matched(self, fake: Tensor, real: Tensor) -> Tensor:
        with self.stage.autocast():
            with torch.no_grad():
                wanted = self.discriminator.features(real)[-1:]  # type: ignore[operator]
            shown = self.discriminator.features(fake)[-1:]  # type: ignore[operator]
        return feature_matching(real=[w.float() for w in wanted], fake=[s.float() for s in shown])

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
        return Metadata(
            kind=self.run.network.network,
            architecture=dataclasses.asdict(self.generator_config),
            classes=self.data.classes or None,
            training={"dataset": self.data.name, "dataset_images": len(self.data), "dataset_digest": self.data.digest},
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


@dataclasses.dataclass(frozen=True)
class Critic:
    """A discriminator of images alone, in full precision: penalties differentiate it twice."""

    discriminator: nn.Module
    classes: Tensor | None

    def __call__(self, images: Tensor) -> Tensor:
        logits: Tensor = self.discriminator(images, self.classes)
        return logits

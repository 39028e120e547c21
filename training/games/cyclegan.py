"""The translator's game: two generators and two discriminators over unpaired photos (Zhu, Park, Isola, Efros 2017).

One iteration is `g_steps` steps of both generators together, then `d_steps` of both discriminators, each on photos of
its own: the first discriminator step sees those of the first generator step, with their translations, and so on. Passes
that go through the same network are joined into one larger batch wherever the result is the same (instance norm looks
at one image at a time), and no weight gradients are computed for the discriminators while the generators learn.
"""

import dataclasses
import re
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from models import (
    Metadata,
    PatchGANConfig,
    ResNetConfig,
    grid,
    metadata_of,
    to_float,
    to_uint8,
)
from models.images import Pixels
from training.data.images import Dataset, batch, indices
from training.engine.draws import generator_of
from training.engine.ema import Average
from training.engine.stage import Moment, Stage
from training.games.cyclegan_options import CycleGANRun
from training.games.game import Evaluation, Players, Scalars
from training.games.judge import Judge, Sight
from training.games.optimize import adam, descend, frozen, gradient_norm, mean_distance, set_rates
from training.games.pool import ImagePool
from training.networks.backbone_weights import backbone
from training.networks.projected import ProjectedDiscriminator
from training.objective.terms import cycle_consistency, identity_mapping, inception_features, perceptual
from training.run.start import begin_with

SHEET = 4  # photos of each domain on a picture
CROWD = 16  # photos for the measure of variety


@dataclasses.dataclass(frozen=True)
class Domains:
    """Photos of both domains to learn from, and to look at on the way (the test photos, where there are any)."""

    train_a: Dataset
    train_b: Dataset
    test_a: Dataset
    test_b: Dataset

    @property
    def digest(self) -> str:
        return self.train_a.digest[:32] + self.train_b.digest[:32]


def domain_names(run: CycleGANRun, dataset: str) -> tuple[str, str]:
    """As configured, else from a name like horse2zebra, else a and b."""
    parts = re.fullmatch(r"([A-Za-z_]+)2([A-Za-z_]+)", dataset)
    first, second = parts.groups() if parts else ("a", "b")
    return run.data.domain_a or first, run.data.domain_b or second


def discriminators(run: CycleGANRun) -> tuple[nn.Module, nn.Module]:
    """A run's discriminators, of domain A and of B.

    Raises:
        WeightsUnavailable: projected ones, and the backbone's weights are not at hand.
    """
    network = run.network
    if network.discriminator == "projected":
        eyes, size, width = backbone(), run.data.image_size, network.discriminator_width
        return ProjectedDiscriminator(eyes, size, width=width), ProjectedDiscriminator(eyes, size, width=width)
    patch = PatchGANConfig(width=network.discriminator_width, norm=network.discriminator_norm)
    return patch.build(), patch.build()


class CycleGANGame:
    """The players of one run and the steps they take (`training.games.game.Game`)."""

    def __init__(self, run: CycleGANRun, data: Domains, stage: Stage) -> None:
        self.run, self.data, self.stage = run, data, stage
        # the paper's least squares (section 3.1) lack the half of Mao's equation 9, and its lambda goes with them
        self.adversarial_weight = 2.0 if run.game.loss == "lsgan" else 1.0
        self.images_per_step = run.pace.batch * max(run.game.d_steps, run.game.g_steps)
        self.data_seconds = 0.0
        self.data_bytes = sum(d.pixels.nbytes for d in (data.train_a, data.train_b, data.test_a, data.test_b))
        self.config = ResNetConfig(width=run.network.width, blocks=run.network.blocks)
        generators = self.config.parts()
        self.a_to_b, self.b_to_a = generators["a_to_b"], generators["b_to_a"]
        self.critic_a, self.critic_b = discriminators(run)
        judges = {"judge_a": self.critic_a, "judge_b": self.critic_b}
        networks = generators | judges
        for network in networks.values():
            stage.place(network)
        start = run.network.start
        self.origin = {"start": begin_with(start, generators, judges)} if start else {}
        half_life = run.optimizer.ema_kimg * 1000
        self.averages = {name: Average(network, half_life) for name, network in generators.items()}
        self.generators = nn.ModuleList([self.a_to_b, self.b_to_a])
        self.discriminators = nn.ModuleList([self.critic_a, self.critic_b])
        self.g_optimizer = adam(self.generators, run.optimizer.g_lr, run.optimizer)
        self.d_optimizer = adam(self.discriminators, run.optimizer.d_lr, run.optimizer)
        self.pool_a, self.pool_b = ImagePool(run.game.pool), ImagePool(run.game.pool)
        self.players = Players(
            networks=networks,
            optimizers={"generators": self.g_optimizer, "discriminators": self.d_optimizer},
            averages=self.averages,
            pools={"a": self.pool_a, "b": self.pool_b},
        )
        self.perception = inception_features(stage.device) if run.game.perceptual else None
        self.synced_a_to_b, self.synced_b_to_a = stage.synced(self.a_to_b), stage.synced(self.b_to_a)
        joined = run.network.discriminator != "projected"  # whose batch norms keep real and fake images apart
        self.judge_a = Judge(self.critic_a, run.game, stage, joined=joined, patches=True)
        self.judge_b = Judge(self.critic_b, run.game, stage, joined=joined, patches=True)

    # --- training ---

    def step(self, moment: Moment) -> Scalars:
        """`g_steps` steps of both generators, then `d_steps` of both discriminators."""
        run, seed = self.run, self.run.pace.seed
        draws = generator_of(seed, moment.step, 0)
        pooled = generator_of(seed, moment.step, 1 + self.stage.rank)
        sight = self.judge_a.sight(seed, moment)
        set_rates(self.g_optimizer, run.optimizer.g_lr, run.optimizer, moment, run.optimizer.g_warmup_kimg)
        set_rates(self.d_optimizer, run.optimizer.d_lr, run.optimizer, moment)
        self.data_seconds = 0.0
        scalars: Scalars = {}
        seen = []
        for number in range(run.game.g_steps):
            real = self._pairs(moment.images + number * run.pace.batch, draws)
            fake, logged = self._generator_step(*real, sight)
            seen.append((*real, *fake))
            scalars |= logged
        for number in range(run.game.d_steps):
            if number < len(seen):
                real_a, real_b, fake_a, fake_b = seen[number]
            else:
                real_a, real_b = self._pairs(moment.images + number * run.pace.batch, draws)
                fake_a, fake_b = self._translated(real_a, real_b)
            shown_a, shown_b = self.pool_a.exchange(fake_a, pooled), self.pool_b.exchange(fake_b, pooled)
            scalars |= self._discriminator_step(real_a, real_b, shown_a, shown_b, sight)
        for name, average in self.averages.items():
            images = moment.images + self.images_per_step
            average.update(self.players.networks[name], self.images_per_step, images)
        return scalars

    def _generator_step(self, real_a: Tensor, real_b: Tensor, sight: Sight) -> tuple[tuple[Tensor, Tensor], Scalars]:
        """Equation 3 of the paper, with the identity loss of its section 5.2. Returns the fakes, detached.

        The objective is a sum over both directions that share no activations, so each is backed through by itself:
        half of the memory, and the same gradients.
        """
        self.g_optimizer.zero_grad(set_to_none=True)
        with frozen(self.discriminators):
            fake_b, there = self._direction(self.synced_a_to_b, self.synced_b_to_a, self.judge_b, real_a, real_b, sight)
            fake_a, back = self._direction(self.synced_b_to_a, self.synced_a_to_b, self.judge_a, real_b, real_a, sight)
        self.g_optimizer.step()
        scalars = {name: there[name] + back[name] for name in there}
        return (fake_a, fake_b), scalars | {"g_gradient_norm": gradient_norm(self.generators)}

    def _direction(
        self, forth: nn.Module, back: nn.Module, judge: Judge, source: Tensor, target: Tensor, sight: Sight
    ) -> tuple[Tensor, Scalars]:
        """Adds one direction's gradients: source photos translated, judged among the target's, and taken back."""
        game = self.run.game
        with self.stage.autocast():
            fake, same = self._translate(forth, source, target)
            round_trip = back(fake)
        adversarial, matched = judge.generator_loss(fake=fake, real=target, sight=sight)
        cycle = cycle_consistency(image=source, round_trip=round_trip)
        total = self.adversarial_weight * adversarial + game.cycle * cycle
        scalars = {"loss_g": adversarial.detach(), "cycle": cycle.detach()}
        if same is not None:
            identity = identity_mapping(image=target, translated=same)
            total = total + game.cycle * game.identity * identity
            scalars["identity"] = identity.detach()
        if matched is not None:
            total = total + matched
        if self.perception:
            total = total + game.perceptual * perceptual(self.perception, image=round_trip.float(), target=source)
        total.backward()
        return fake.detach().float(), scalars

    def _translate(self, generator: nn.Module, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        """The source translated, and the target domain's photos, which should come back as they are."""
        if not self.run.game.identity:
            return generator(source), None
        fake, same = generator(torch.cat([source, target])).chunk(2)
        return fake, same

    def _translated(self, real_a: Tensor, real_b: Tensor) -> tuple[Tensor, Tensor]:
        """Both domains' photos translated for the discriminators alone: fakes of A, of B."""
        with torch.no_grad(), self.stage.autocast():
            return self.b_to_a(real_b).float(), self.a_to_b(real_a).float()

    def _discriminator_step(
        self, real_a: Tensor, real_b: Tensor, fake_a: Tensor, fake_b: Tensor, sight: Sight
    ) -> Scalars:
        a = self.judge_a.discriminator_loss(real=real_a, fake=fake_a, sight=sight)
        b = self.judge_b.discriminator_loss(real=real_b, fake=fake_b, sight=sight)
        # halved, as the paper does to slow the discriminators down against the generators (appendix 7.1)
        descend(self.d_optimizer, 0.5 * (a.total + b.total))
        for judge in (self.judge_a, self.judge_b):
            judge.clip()
        return {"loss_d": 0.5 * (a.loss + b.loss), "d_real": (a.real + b.real) / 2, "d_fake": (a.fake + b.fake) / 2}

    def _pairs(self, start: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """This process's share of the next photos of both domains."""
        started = time.perf_counter()
        photos = (
            self._real(self.data.train_a, start, draws, domain=0),
            self._real(self.data.train_b, start, draws, domain=1),
        )
        self.data_seconds += time.perf_counter() - started
        return photos

    def _real(self, data: Dataset, start: int, draws: torch.Generator, domain: int) -> Tensor:
        """This process's share of the next photos of one domain; each domain has an order of its own."""
        run, stage = self.run, self.stage
        return batch(
            data.pixels,
            indices(2 * run.pace.seed + domain, start, start + run.pace.batch, len(data)),
            run.data.image_size,
            flips=run.data.flips,
            random=draws,
            device=stage.device,
            share=stage.share(run.pace.batch),
        )

    # --- showing and saving ---

    def rehearse(self) -> int:
        size = self.run.data.image_size
        photo = torch.zeros(1, 3, size, size, device=self.stage.device)
        for generator, critic in ((self.a_to_b, self.critic_b), (self.b_to_a, self.critic_a)):
            for _ in ("translation", "round trip", "identity"):
                fake = generator(photo)
            critic(fake)
        return 1

    def refresh(self) -> None:
        """Nothing to do: instance norm keeps no statistics."""

    def picture(self) -> Pixels:
        """Rows of photo, translation, round trip: A to B on the left, B to A on the right."""
        rows = []
        for photos, there, back in (
            (self.data.test_a, self.averages["a_to_b"], self.averages["b_to_a"]),
            (self.data.test_b, self.averages["b_to_a"], self.averages["a_to_b"]),
        ):
            images = _first(photos, SHEET).to(self.stage.device)
            with torch.no_grad():
                fake = there.module(images)
                rows.append([to_uint8(images), to_uint8(fake), to_uint8(back.module(fake))])
        columns = [column for row in rows for column in row]
        return grid(np.stack(columns, axis=1).reshape(-1, *columns[0].shape[1:]), columns=6)

    def variety(self) -> float:
        """The smaller of both directions."""
        ratios = []
        for source, target, name in (
            (self.data.train_a, self.data.train_b, "a_to_b"),
            (self.data.train_b, self.data.train_a, "b_to_a"),
        ):
            with torch.no_grad():
                fake = self.averages[name].module(_first(source, CROWD).to(self.stage.device))
            ratios.append(float(mean_distance(fake).cpu() / mean_distance(_first(target, CROWD))))
        return min(ratios)

    def evaluations(self) -> dict[str, Evaluation]:
        return {
            "a_to_b": Evaluation(self._translations(self.data.test_a, "a_to_b"), self.data.test_b.pixels),
            "b_to_a": Evaluation(self._translations(self.data.test_b, "b_to_a"), self.data.test_a.pixels),
        }

    def _translations(self, photos: Dataset, direction: str) -> Callable[[int], Iterator[Pixels]]:
        def batches(count: int) -> Iterator[Pixels]:
            for start in range(0, min(count, len(photos)), SHEET):
                images = to_float(photos.pixels[start : start + SHEET].numpy()).to(self.stage.device)
                with torch.no_grad():
                    yield to_uint8(self.averages[direction].module(images))

        return batches

    def weights(self) -> dict[str, nn.Module]:
        return {name: average.module for name, average in self.averages.items()}

    def metadata(self) -> Metadata:
        train_a, train_b = self.data.train_a, self.data.train_b
        return metadata_of(
            self.config,
            domains=domain_names(self.run, train_a.name),
            training=self.origin
            | {
                "dataset": train_a.name,
                "dataset_images": [len(train_a), len(train_b)],
                "dataset_digest": self.data.digest,
            },
        )


def _first(data: Dataset, count: int) -> Tensor:
    """The first photos of a data set, cut to the middle: float32 [n, c, s, s]."""
    return to_float(data.pixels[:count].numpy())

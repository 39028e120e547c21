"""The translator's game: two generators and two discriminators over unpaired photos (Zhu, Park, Isola, Efros 2017).

One iteration is `g_steps` steps of both generators together, then `d_steps` of both discriminators, each on photos of
its own: the first discriminator step sees those of the first generator step, with their translations, and so on. Passes
that go through the same network are joined into one larger batch wherever the result is the same (instance norm looks
at one image at a time), and no weight gradients are computed for the discriminators while the generators learn.

With attention the generators also give masks (`models/networks/attention.py`), which learn from the game and from three
terms of their own (`training/objective/attention.py`).
"""

import dataclasses

import torch
from torch import Tensor, nn

from models import PatchGANConfig, ResNetConfig, Unblended, compose
from training.data.images import Dataset, Stream
from training.engine.draws import generator_of
from training.engine.ema import Average
from training.engine.stage import Moment, Stage
from training.games.architectures import config_of
from training.games.cyclegan_options import CycleGANRun, class_range
from training.games.game import Game, Players, Step, game
from training.games.judge import Judge, Sight, rules_of
from training.games.optimize import Mover, frozen
from training.games.pool import ImagePool
from training.games.translator import Domains, Translator, read_domains
from training.networks.activation_map import ActivationMap
from training.networks.backbone_weights import backbone, classifier
from training.networks.projected import ProjectedDiscriminator
from training.objective.attention import edge_aware_variation, guidance, sparsity
from training.objective.terms import cycle_consistency, identity_mapping, inception_features, perceptual


def discriminators(run: CycleGANRun) -> tuple[nn.Module, nn.Module]:
    """A run's discriminators, of domain A and of B.

    Raises:
        WeightsUnavailable: projected ones, and the backbone's weights are not at hand.
    """
    network = run.network
    if network.discriminator == "projected":
        eyes, size, width = backbone(), run.data.image_size, network.discriminator_width
        return ProjectedDiscriminator(eyes, size, width=width), ProjectedDiscriminator(eyes, size, width=width)
    patch = config_of(PatchGANConfig, run, beside="discriminator_")
    return patch.build(), patch.build()


def _guide(run: CycleGANRun, stage: Stage) -> nn.Module:
    """What says where the things are whose look is exchanged; raises WeightsUnavailable."""
    return stage.place(ActivationMap(backbone(), classifier(), class_range(run.game.guide_classes)))


@game
class CycleGAN(Game):
    """The players of one run and the steps they take."""

    Run = CycleGANRun
    about = "Train a translator: CycleGAN, on two folders of photos."
    read = staticmethod(read_domains)

    def __init__(self, run: CycleGANRun, data: Domains, stage: Stage) -> None:
        self.run, self.data, self.stage = run, data, stage
        self.images_per_step = run.pace.batch * max(run.game.d_steps, run.game.g_steps)
        config = config_of(ResNetConfig, run)
        parts = {name: stage.place(network) for name, network in config.parts().items()}
        self.a_to_b, self.b_to_a = parts["a_to_b"], parts["b_to_a"]
        if run.network.painter == "keep":
            for network in parts.values():
                network.layers.requires_grad_(False)
        self.critic_a, self.critic_b = (stage.place(network) for network in discriminators(run))
        averages = {name: Average(network, run.optimizer.ema_kimg * 1000) for name, network in parts.items()}
        self.generators = nn.ModuleList([self.a_to_b, self.b_to_a])
        self.discriminators = nn.ModuleList([self.critic_a, self.critic_b])
        self.g_mover = Mover(self.generators, run.optimizer.g_rate, run.optimizer)
        self.d_mover = Mover(self.discriminators, run.optimizer.d_rate, run.optimizer)
        self.pool_a, self.pool_b = ImagePool(run.game.pool), ImagePool(run.game.pool)
        self.players = Players(
            networks=parts | {"judge_a": self.critic_a, "judge_b": self.critic_b},
            optimizers={"generators": self.g_mover.optimizer, "discriminators": self.d_mover.optimizer},
            averages=averages,
            pools={"a": self.pool_a, "b": self.pool_b},
        )
        self.family = Translator(run, data, stage, config, averages)
        # each domain has an order of its own
        self.stream_a, self.stream_b = (
            self._stream(domain, 2 * run.pace.seed + number)
            for number, domain in enumerate((data.train_a, data.train_b))
        )
        self.perception = inception_features(stage.device) if run.game.perceptual else None
        self.attends = config.attends
        self.synced_a_to_b, self.synced_b_to_a = (
            stage.for_training(Unblended(network) if self.attends else network) for network in parts.values()
        )
        self.guide = _guide(run, stage) if run.game.guide else None
        # the paper writes losses without a factor before their expectations (section 3.1)
        rules = rules_of(run.game)
        rules = dataclasses.replace(rules, scale=1 / rules.loss.scale)
        self.judge_a = Judge(self.critic_a, run.game, stage, rules)
        self.judge_b = Judge(self.critic_b, run.game, stage, rules)

    def _stream(self, domain: Dataset, seed: int) -> Stream:
        size, stage = self.run.data.image_size, self.stage
        return Stream(domain, seed, size, flips=self.run.data.flips, device=stage.device, share=stage.share)

    @property
    def data_seconds(self) -> float:
        return self.stream_a.seconds + self.stream_b.seconds

    def step(self, moment: Moment) -> Step:
        """`g_steps` steps of both generators, then `d_steps` of both discriminators."""
        run, seed = self.run, self.run.pace.seed
        draws = generator_of(seed, moment.step, 0)
        pooled = generator_of(seed, moment.step, 1 + self.stage.rank)
        sight = self.judge_a.sight(seed, moment)
        self.g_mover.at(moment)
        self.d_mover.at(moment)
        seen = []
        for number in range(run.game.g_steps):
            real = self._pairs(moment.images + number * run.pace.batch, draws)
            fake, terms = self._generator_step(*real, sight)
            seen.append((*real, *fake))
        loss_d, logits = torch.zeros((), device=self.stage.device), dict[str, Tensor]()
        for number in range(run.game.d_steps if run.game.adversarial else 0):
            if number < len(seen):
                real_a, real_b, fake_a, fake_b = seen[number]
            else:
                real_a, real_b = self._pairs(moment.images + number * run.pace.batch, draws)
                fake_a, fake_b = self._translated(real_a, real_b)
            shown_a, shown_b = self.pool_a.exchange(fake_a, pooled), self.pool_b.exchange(fake_b, pooled)
            loss_d, logits = self._discriminator_step(real_a, real_b, shown_a, shown_b, sight)
        for name, average in self.players.averages.items():
            images = moment.images + self.images_per_step
            average.update(self.players.networks[name], self.images_per_step, images)
        loss_g = terms.pop("loss_g")
        return Step(loss_d, loss_g, self.g_mover.gradient_norm(), terms | logits)

    def _generator_step(
        self, real_a: Tensor, real_b: Tensor, sight: Sight
    ) -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
        """Equation 3 of the paper, with the identity loss of its section 5.2.

        Returns the fakes, detached, and each term summed over both directions.

        The objective is a sum over both directions that share no activations, so each is backed through by itself:
        half of the memory, and the same gradients.
        """
        with self.g_mover.step(), frozen(self.discriminators):
            fake_b, there = self._direction(self.synced_a_to_b, self.synced_b_to_a, self.judge_b, real_a, real_b, sight)
            fake_a, back = self._direction(self.synced_b_to_a, self.synced_a_to_b, self.judge_a, real_b, real_a, sight)
        return (fake_a, fake_b), {name: there[name] + back[name] for name in there}

    def _direction(
        self, forth: nn.Module, back: nn.Module, judge: Judge, source: Tensor, target: Tensor, sight: Sight
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Adds one direction's gradients: source photos translated, judged among the target's, and taken back."""
        game = self.run.game
        with self.stage.autocast():
            fake, same, masks = self._translate(forth, source, target)
            round_trip = self._composed(back, fake)[0] if game.cycle else None
        terms = {"loss_g": torch.zeros((), device=source.device)}
        total = terms["loss_g"]
        if game.adversarial:
            adversarial, matched = judge.generator_loss(fake=fake, real=target, sight=sight)
            terms["loss_g"] = adversarial.detach()
            total = game.adversarial * (adversarial if matched is None else adversarial + matched)
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
            own, told = self._mask_loss(masks, source)
            total, terms = total + own, terms | told
        total.backward()
        return fake.detach().float(), terms

    def _composed(self, generator: nn.Module, photos: Tensor) -> tuple[Tensor, Tensor | None]:
        """Translations, and the masks of a generator with attention."""
        made = generator(photos)
        if not self.attends:
            return made, None
        painted, masks = made[:, :-1].float(), made[:, -1:].float()
        return compose(photos.float(), painted, masks), masks

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

    def _mask_loss(self, masks: Tensor, photos: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted terms of masks, and each without its weight."""
        game = self.run.game
        terms = {"mask": sparsity(masks), "mask_edges": edge_aware_variation(masks, photos)}
        total = game.sparsity * terms["mask"] + game.smoothness * terms["mask_edges"]
        if self.guide is not None:
            with torch.no_grad(), self.stage.autocast():
                seen = self.guide(photos).float()
            terms["mask_guide"] = guidance(masks, seen)
            total = total + game.guide * terms["mask_guide"]
        return total, {name: term.detach() for name, term in terms.items()}

    def _translated(self, real_a: Tensor, real_b: Tensor) -> tuple[Tensor, Tensor]:
        """Both domains' photos translated for the discriminators alone: fakes of A, of B."""
        with torch.no_grad(), self.stage.autocast():
            return self.b_to_a(real_b).float(), self.a_to_b(real_a).float()

    def _discriminator_step(
        self, real_a: Tensor, real_b: Tensor, fake_a: Tensor, fake_b: Tensor, sight: Sight
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss, and the mean logits of real and fake photos."""
        a = self.judge_a.discriminator_loss(real=real_a, fake=fake_a, sight=sight)
        b = self.judge_b.discriminator_loss(real=real_b, fake=fake_b, sight=sight)
        # halved, as the paper does to slow the discriminators down against the generators (appendix 7.1)
        self.d_mover.descend(0.5 * (a.total + b.total))
        for judge in (self.judge_a, self.judge_b):
            judge.clip()
        return 0.5 * (a.loss + b.loss), {"d_real": (a.real + b.real) / 2, "d_fake": (a.fake + b.fake) / 2}

    def _pairs(self, start: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """This process's share of the next photos of both domains."""
        batch = self.run.pace.batch
        return self.stream_a.take(start, batch, draws)[0], self.stream_b.take(start, batch, draws)[0]

"""What the games over unpaired photos share, CycleGAN and CUT: their players and the rhythm of an iteration.

One iteration is `g_steps` steps of the generators, then `d_steps` of the discriminators, each on photos of its own: the
first discriminator step sees those of the first generator step, with their translations, and so on. No weight gradients
are computed for the discriminators while the generators learn.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from models import ResNetConfig
from training.data.images import Dataset, Stream
from training.engine.draws import generator_of
from training.engine.ema import Average
from training.engine.stage import Moment, Stage
from training.games.architectures import config_of
from training.games.game import Game, Players, Step
from training.games.judge import Sight
from training.games.masks import Masks
from training.games.opponents import Opponents, Photos
from training.games.optimize import Mover, frozen
from training.games.translator import Domains, Translator, read_domains
from training.games.unpaired_options import UnpairedRun

TARGETS = {"a_to_b": "b", "b_to_a": "a"}


class UnpairedGame(Game):
    """The players of one run and the rhythm of their steps; what the generators learn is the paper's.

    Args:
        directions: "a_to_b", "b_to_a" or both: those that have a generator.
        learning: those of them that learn; left out, all. The others' generators stay as they begin.
    """

    read = staticmethod(read_domains)
    family: Translator

    def __init__(
        self,
        run: UnpairedRun,
        data: Domains,
        stage: Stage,
        directions: Sequence[str],
        learning: Sequence[str] | None = None,
    ) -> None:
        self.run, self.data, self.stage = run, data, stage
        self.images_per_step = run.pace.batch * max(run.game.d_steps, run.game.g_steps)
        config, made = config_of(ResNetConfig, run), config_of(ResNetConfig, run).parts()
        parts = {name: stage.place(made[name]) for name in directions}
        self.learning = tuple(directions) if learning is None else tuple(learning)
        for name in set(directions) - set(self.learning):
            parts[name].requires_grad_(False)
        if run.network.painter == "keep":
            for network in parts.values():
                network.layers.requires_grad_(False)
        self.masks = Masks(run, stage)
        self.opponents = Opponents(run, stage, sorted(TARGETS[name] for name in self.learning))
        averages = {name: Average(network, run.optimizer.half_life) for name, network in parts.items()}
        self.generators = nn.ModuleList(parts.values())
        self.g_mover = Mover(self.generators, run.optimizer.g_rate, run.optimizer)
        self.movers = {"generators": self.g_mover, "discriminators": self.opponents.mover}
        self.players = Players(
            networks=parts | {f"judge_{domain}": network for domain, network in self.opponents.networks.items()},
            optimizers={name: mover.optimizer for name, mover in self.movers.items()},
            averages=averages,
            pools=self.opponents.pools,
        )
        self.family = Translator(run, data, stage, config, averages)
        # each domain has an order of its own
        self.streams = {
            "a": self._stream(data.train_a, 2 * run.pace.seed),
            "b": self._stream(data.train_b, 2 * run.pace.seed + 1),
        }

    def _stream(self, domain: Dataset, seed: int) -> Stream:
        size, stage = self.run.data.image_size, self.stage
        return Stream(domain, seed, size, flips=self.run.data.flips, device=stage.device, share=stage.share)

    @property
    def data_seconds(self) -> float:
        return sum(stream.seconds for stream in self.streams.values())

    def step(self, moment: Moment) -> Step:
        """`g_steps` steps of the generators, then `d_steps` of the discriminators."""
        run, seed = self.run, self.run.pace.seed
        draws = generator_of(seed, moment.step, 0)
        pooled = generator_of(seed, moment.step, 1 + self.stage.rank)
        sight = self.opponents.sight(seed, moment)
        for mover in self.movers.values():
            mover.at(moment)
        seen = []
        for number in range(run.game.g_steps):
            real = self._photos(moment.images + number * run.pace.batch, draws)
            fake, terms = self._generator_step(real, sight)
            seen.append((real, fake))
        loss_d, logits = torch.zeros((), device=self.stage.device), dict[str, Tensor]()
        for number in range(run.game.d_steps if run.game.adversarial else 0):
            if number < len(seen):
                real, fake = seen[number]
            else:
                real = self._photos(moment.images + number * run.pace.batch, draws)
                fake = self._translated(real)
            loss_d, logits = self.opponents.step(real, self.opponents.shown(fake, pooled), sight)
        for name, average in self.players.averages.items():
            average.update(self.players.networks[name], self.images_per_step, moment.after(self.images_per_step))
        loss_g = terms.pop("loss_g")
        return Step(loss_d, loss_g, self.g_mover.gradient_norm(), terms | logits)

    @abstractmethod
    def _generator_step(self, real: Photos, sight: Sight) -> tuple[Photos, dict[str, Tensor]]:
        """One step of the generators on photos of both domains.

        Returns the fakes by the domain that they imitate, detached; and each term of the objective, with "loss_g", the
        adversarial one.
        """

    def _each_direction(
        self, real: Photos, learn: Callable[[str, Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]
    ) -> tuple[Photos, dict[str, Tensor]]:
        """One step of the generators down an objective that is a sum over the directions; returns as `_generator_step`.

        Directions share no activations, so each is backed through by itself: half of the memory, the same gradients.

        Args:
            learn: called with a direction, photos to translate and photos of the other domain; adds its gradients, and
                gives the translations, detached, and its terms.
        """
        fakes, terms = {}, dict[str, Tensor]()
        with self.g_mover.step(), frozen(self.opponents.together):
            for name in self.learning:
                target = TARGETS[name]
                source = "a" if target == "b" else "b"
                fakes[target], told = learn(name, real[source], real[target])
                terms = {one: terms[one] + term if one in terms else term for one, term in told.items()}
        return fakes, terms

    def _translated(self, real: Photos) -> Photos:
        """Photos translated for the discriminators alone."""
        sources = {"a_to_b": real["a"], "b_to_a": real["b"]}
        fakes = {}
        with torch.no_grad(), self.stage.autocast():
            for name in self.learning:
                made = self.masks.beside(self.parts[name])(sources[name])
                fakes[TARGETS[name]] = self.masks.blend(made, sources[name])[0].float()
        return fakes

    def _photos(self, start: int, draws: torch.Generator) -> Photos:
        """This process's share of the next photos of both domains."""
        return {domain: stream.take(start, self.run.pace.batch, draws)[0] for domain, stream in self.streams.items()}

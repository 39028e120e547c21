"""The loss laboratory: every loss on a ring of eight 2-D Gaussians, all of them side by side in one ensemble.

Networks of two hidden layers, so that what is seen is the loss and the game it is played in, not the architecture.
Three games (`GAMES`) bring out three things: that every loss can learn the ring; that every one collapses where the
generator outruns its discriminator; and that on a ring of sharp, distant modes the losses that compare densities
drop modes for good where the Wasserstein loss with a gradient penalty finds all. A fourth experiment
(`gradient_norms`) holds the generator still and trains its discriminator on and on: Arjovsky & Bottou 2017,
"Towards Principled Methods for Training Generative Adversarial Networks", figures 2 and 3, in two dimensions.

`python -m training ring` (`training/ring/command.py`) runs all of it and draws one picture.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.engine.draws import Draws, generator_of
from training.objective.losses import Loss
from training.objective.terms import gradient_penalty
from training.ring.ensemble import Ensemble, multilayer

MODES = 8
LATENTS = 2
HIDDEN = 64
BATCH = 256
LOOKS = 20
CLOSE = 4  # deviations
ALONE = 1000  # steps of the discriminator in the fourth experiment


@dataclass(frozen=True)
class Ring:
    """Eight Gaussians of equal weight on a circle around the origin; the first at (radius, 0)."""

    radius: float
    deviation: float

    def centres(self) -> Tensor:
        """[8, 2]."""
        angles = torch.arange(MODES) * (2 * math.pi / MODES)
        return self.radius * torch.stack([angles.cos(), angles.sin()], dim=1)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """[n, 2] points of the data distribution."""
        modes = torch.randint(MODES, (n,), generator=generator)
        return self.centres()[modes] + self.deviation * torch.randn(n, 2, generator=generator)


@dataclass(frozen=True)
class Coverage:
    """What samples hold of the ring: modes found, and the share of good samples (as Srivastava et al. 2017, "VEEGAN").

    found: the modes (0 to 7, in the order of `Ring.centres`) that have at least a tenth of their share of the samples
        close by. A mode that one stray sample reaches is not found.
    quality: share of the samples that are close to a mode: within four deviations of its centre. (The literature takes
        three, which 1% of the data itself exceeds.)
    """

    found: tuple[int, ...]
    quality: float

    @property
    def modes(self) -> int:
        """How many of the eight were found."""
        return len(self.found)


def coverage(samples: Tensor, ring: Ring) -> Coverage:
    """Counts the modes that samples [n, 2] cover."""
    distance, mode = torch.cdist(samples, ring.centres()).min(dim=1)
    close = distance < CLOSE * ring.deviation
    counts = torch.bincount(mode[close], minlength=MODES)
    found = (counts >= len(samples) / MODES / 10).nonzero().flatten().tolist()
    return Coverage(tuple(found), close.float().mean().item())


@dataclass(frozen=True)
class Game:
    """One setting that all losses are played in: a step of the discriminator, a step of the generator, in turn.

    g_rate, d_rate: Adam's learning rates. beta1: Adam's first momentum (the second is 0.9).
    """

    title: str
    ring: Ring
    g_rate: float
    d_rate: float
    beta1: float
    steps: int


GAMES: Mapping[str, Game] = {
    "even": Game("a discriminator that keeps up", Ring(1, 0.05), 1e-3, 3e-3, 0.0, 600),
    "slow": Game("a discriminator five times slower than the generator", Ring(1, 0.05), 1e-3, 2e-4, 0.0, 600),
    "sharp": Game("sharp, distant modes", Ring(2, 0.02), 5e-4, 2e-3, 0.5, 2000),
}

# Gulrajani et al. 2017 take 10 for images and 0.1 in their own code for this ring: in two dimensions the penalty
# need not compete with a critic's loss over thousands of pixels.
PENALTY = 0.1
# A clipped weight lives in [-0.01, 0.01]: Adam's steps, each as long as its rate, must be small against that.
CLIPPED_RATE = 0.3


@dataclass(frozen=True)
class Trial:
    """One loss in one game. history: coverage as training went on, evenly spaced, the last at its end."""

    loss: Loss
    game: Game
    samples: Tensor
    critic: nn.Module
    history: tuple[Coverage, ...]

    @property
    def coverage(self) -> Coverage:
        """At the end of training."""
        return self.history[-1]


@dataclass(frozen=True)
class Team:
    """Discriminators of one rate, in one ensemble with one optimizer.

    members: their numbers among all.  clip: the limit of their weights, or None.
    """

    members: Tensor
    network: Ensemble
    optimizer: torch.optim.Adam
    clip: float | None


class Discriminators:
    """One discriminator for each loss and seed, with the constraints that their losses ask for.

    Members are numbered in order of loss, then of seed. Those whose weights are clipped learn at a rate of their own.
    """

    def __init__(self, losses: Sequence[Loss], game: Game, seeds: Sequence[int]) -> None:
        networks = [_networks(seed)[1] for seed in seeds]
        self.losses, self.ring, self.seeds = losses, game.ring, len(seeds)
        self.lines = [generator_of(seed, 0, 1) for seed in seeds]  # for penalties alone: other losses draw none
        clips = [loss.weight_clip for loss in losses for _ in seeds]
        self.teams = []
        for clip in dict.fromkeys(clips):
            members = torch.tensor([member for member, own in enumerate(clips) if own == clip])
            network = Ensemble([networks[member % len(seeds)] for member in members.tolist()])
            rate = game.d_rate * (1.0 if clip is None else CLIPPED_RATE)
            self.teams.append(Team(members, network, _adam(network, rate, game), clip))
        self.places = torch.cat([team.members for team in self.teams]).argsort()

    def __call__(self, points: Tensor) -> Tensor:
        """Points [members, n, 2] to logits [members, n, 1]."""
        return torch.cat([team.network(points[team.members]) for team in self.teams])[self.places]

    def step(self, fake: Tensor, draws: Sequence[torch.Generator]) -> Tensor:
        """Trains each once, on its fake points [members, n, 2] and as many of the ring's, which the losses share.

        Returns the ring's points, [members, n, 2].
        """
        real = torch.stack([self.ring.draw(fake.shape[1], own) for own in draws]).repeat(len(self.losses), 1, 1)
        real_logits, fake_logits = self(torch.cat([real, fake], dim=1)).chunk(2, dim=1)
        values = [
            self.seeds * loss.discriminator(real=real_logits[part], fake=fake_logits[part])  # the sum over members
            for loss, part in self.parts()
        ]
        for loss, part in self.parts():
            if loss.gradient_penalty is not None:
                for member, own in zip(range(part.start, part.stop), self.lines, strict=True):
                    critic = self.critic(member)
                    penalty = gradient_penalty(
                        critic, real=real[member], fake=fake[member], weight=PENALTY, draws=Draws(own)
                    )
                    values.append(penalty)
        for team in self.teams:
            team.optimizer.zero_grad()
        torch.stack(values).sum().backward()
        for team in self.teams:
            team.optimizer.step()
            if team.clip is not None:
                with torch.no_grad():
                    for parameter in team.network.parameters():
                        parameter.clamp_(-team.clip, team.clip)
        return real

    def beside(self, real: Tensor) -> Tensor | None:
        """What a paired loss compares generated points with: logits [members, n, 1] of points [members, n, 2]; None
        where no loss is one."""
        if not any(loss.paired for loss in self.losses):
            return None
        with torch.no_grad():
            return self(real)

    def parts(self) -> list[tuple[Loss, slice]]:
        """Each loss with its members."""
        return [(loss, slice(k * self.seeds, (k + 1) * self.seeds)) for k, loss in enumerate(self.losses)]

    def requires_grad_(self, wanted: bool) -> None:
        """Whether gradients are computed for their weights."""
        for team in self.teams:
            team.network.requires_grad_(wanted)

    def critic(self, member: int) -> Callable[[Tensor], Tensor]:
        """One member: points [n, 2] to logits [n, 1]."""
        team, place = self._place(member)
        return lambda points: team.network.some(points[None], slice(place, place + 1))[0]

    def member(self, member: int) -> nn.Sequential:
        """A copy of one member's network."""
        team, place = self._place(member)
        return team.network.member(place)

    def _place(self, member: int) -> tuple[Team, int]:
        """The team of a member, and its number there."""
        return next((team, team.members.tolist().index(member)) for team in self.teams if member in team.members)


def _adam(network: nn.Module, rate: float, game: Game) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), rate, (game.beta1, 0.9), fused=True)


def _networks(seed: int) -> tuple[nn.Sequential, nn.Sequential]:
    """A generator and a discriminator."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return multilayer(LATENTS, HIDDEN, 2), multilayer(2, HIDDEN, 1)


def _latents(n: int, draws: Sequence[torch.Generator], losses: int) -> Tensor:
    """[members, n, LATENTS]; all losses get the same."""
    return torch.stack([torch.randn(n, LATENTS, generator=own) for own in draws]).repeat(losses, 1, 1)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Networks this small lose more by waiting for a second thread than they gain from it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def play(losses: Sequence[Loss], game: Game, *, seeds: Sequence[int] = (0,), samples: int = 2000) -> list[list[Trial]]:
    """Trains a generator of the ring by each loss from each seed, all at once: for each loss, a trial a seed.

    Args:
        seeds: each fixes weights and draws, which are the same for every loss, whatever is trained beside it.
        samples: points that coverage is counted on, `LOOKS` times over the run.
    """
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    generator = Ensemble([_networks(seed)[0] for seed in seeds] * len(losses))
    discriminators = Discriminators(losses, game, seeds)
    optimizer = _adam(generator, game.g_rate, game)
    history = []
    for step in range(1, game.steps + 1):
        with torch.no_grad():
            fake = generator(_latents(BATCH, draws, len(losses)))
        real = discriminators.beside(discriminators.step(fake, draws))
        discriminators.requires_grad_(False)
        logits = discriminators(generator(_latents(BATCH, draws, len(losses))))
        values = [
            len(seeds) * loss.generator(fake=logits[part], real=None if real is None else real[part])
            for loss, part in discriminators.parts()
        ]
        optimizer.zero_grad()
        torch.stack(values).sum().backward()
        optimizer.step()
        discriminators.requires_grad_(True)
        if step * LOOKS // game.steps != (step - 1) * LOOKS // game.steps:
            with torch.no_grad():
                points = generator(_latents(samples, draws, len(losses)))
            history.append([coverage(own, game.ring) for own in points])
    trials = [
        Trial(loss, game, points[member], discriminators.member(member), tuple(look[member] for look in history))
        for loss, part in discriminators.parts()
        for member in range(part.start, part.stop)
    ]
    return [trials[part] for _, part in discriminators.parts()]


@one_thread()
def gradient_norms(losses: Sequence[Loss], game: Game, at: Sequence[int], *, seed: int = 0) -> list[list[float]]:
    """The 2-norm of the generator's gradient, generator held still, as its discriminator trains towards optimality.

    Args:
        at: rising numbers of discriminator steps after which to measure, on 2,000 latents.

    Returns:
        For each loss, a norm for each of `at`.
    """
    draws = torch.Generator().manual_seed(seed)
    generator, _ = _networks(seed)
    discriminators = Discriminators(losses, game, [seed])
    latents = torch.randn(2000, LATENTS, generator=draws)
    points = game.ring.draw(2000, generator_of(seed, 0, 2))  # for paired losses alone: other losses draw none
    norms: list[list[float]] = [[] for _ in losses]
    for step in range(1, at[-1] + 1):
        with torch.no_grad():
            fake = generator(torch.randn(BATCH, LATENTS, generator=draws))
        discriminators.step(fake.expand(len(losses), -1, -1), [draws])
        if step in at:
            logits = discriminators(generator(latents).expand(len(losses), -1, -1))
            real = discriminators.beside(points.expand(len(losses), -1, -1))
            for place, (loss, part) in enumerate(discriminators.parts()):
                value = loss.generator(fake=logits[part], real=None if real is None else real[part])
                gradients = torch.autograd.grad(value, list(generator.parameters()), retain_graph=True)
                norms[place].append(torch.nn.utils.get_total_norm(gradients).item())
    return norms

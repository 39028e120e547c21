"""Shared by the tests of the games over unpaired photos: a game that can take a step, photos, and what a step moves."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.engine.draws import Draws
from training.engine.stage import Moment
from training.games.judge import Sight
from training.games.unpaired import UnpairedGame
from training.games.unpaired_options import UnpairedRun
from training.run.build import build, stage


def made(run: UnpairedRun) -> UnpairedGame:
    game = build(run, stage(run.machine, run.pace))[0]
    assert isinstance(game, UnpairedGame)
    for mover in game.movers.values():
        mover.at(Moment(0, 0, 100))
    return game


def photos(count: int = 2) -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(7)
    return {domain: torch.rand(count, 3, 32, 32, generator=draws) * 2 - 1 for domain in "ab"}


def sight(seed: int = 0) -> Sight:
    return Sight(Draws(torch.Generator().manual_seed(seed)), Moment(0, 0, 100))


def moved(networks: Mapping[str, nn.Module], before: Mapping[str, nn.Module]) -> set[str]:
    """The networks of which a step has moved a weight."""
    pairs = {name: zip(one.parameters(), before[name].parameters(), strict=True) for name, one in networks.items()}
    return {name for name, pair in pairs.items() if any(not torch.equal(new, old) for new, old in pair)}

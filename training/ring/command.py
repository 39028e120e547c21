"""The command `python -m training ring`: all losses in all games, one table, one picture."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from models import InputError
from training.engine.console import say
from training.engine.packages import require_packages, without_a_notebooks_backend
from training.objective.losses import LOSSES
from training.ring.play import ALONE, GAMES, LOOKS, gradient_norms, play

ABOUT = "The loss laboratory: every loss on a ring of eight 2-D Gaussians, in one picture."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `python -m training ring`."""
    parser.add_argument(
        "--out", default="ring.png", metavar="PICTURE", help="where to write it: .png, .webp, .svg or .pdf"
    )
    parser.add_argument("--losses", nargs="+", choices=list(LOSSES), default=list(LOSSES), help="default: all")
    parser.add_argument("--seed", type=int, default=0, help="fixes weights and every draw (default: 0)")
    parser.add_argument("--steps", type=int, help="length of every experiment (default: each one's own)")


def run(typed: argparse.Namespace) -> int:
    """Plays all games, prints a table of what each loss covered, and writes the picture.

    Raises:
        InputError: a flag's value is not usable.
    """
    require_packages("matplotlib")
    with without_a_notebooks_backend():
        from training.ring.picture import FORMATS, draw  # matplotlib takes a second to import

    out = Path(typed.out)
    if out.suffix not in FORMATS:
        raise InputError(f"--out must end in {', '.join(FORMATS)}; got {typed.out!r}.", where="out")
    if not out.parent.is_dir():
        raise InputError(f"--out: there is no folder {str(out.parent)!r}.", where="out")
    if typed.steps is not None and typed.steps < LOOKS:
        raise InputError(f"--steps must be {LOOKS} or more; got {typed.steps}.", where="steps")
    if not 0 <= typed.seed < 2**63:
        raise InputError(f"--seed must be in [0, 2^63); got {typed.seed}.", where="seed")
    losses = [LOSSES[name] for name in typed.losses]
    games = {name: replace(game, steps=typed.steps or game.steps) for name, game in GAMES.items()}
    trials = {name: [trial for (trial,) in play(losses, game, seeds=[typed.seed])] for name, game in games.items()}
    say(f"{'modes (samples close to one)':30}" + "".join(f"{name:>14}" for name in games), sys.stdout)
    for place, loss in enumerate(losses):
        found = [row[place].coverage for row in trials.values()]
        say(f"{loss.name:30}" + "".join(f"{f'{one.modes} ({one.quality:.0%})':>14}" for one in found), sys.stdout)
    sharp = games["sharp"]
    at = sorted({round((typed.steps or ALONE) ** (k / 24)) for k in range(25)})
    measured = gradient_norms(losses, sharp, at, seed=typed.seed)
    norms = {loss.name: values for loss, values in zip(losses, measured, strict=True)}
    say(f"generator's gradient after {at[0]} and {at[-1]} discriminator steps:", sys.stdout)
    for name, values in norms.items():
        say(f"{name:30}{values[0]:>14.1e}{values[-1]:>14.1e}", sys.stdout)
    draw(out, trials, norms, at)
    say(str(out), sys.stdout)
    return 0

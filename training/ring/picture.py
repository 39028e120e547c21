"""The one picture of the loss laboratory: samples, modes covered, and the generator's gradient, by loss."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Circle

from models import atomic_path
from training.objective.losses import LOSSES, Loss
from training.ring.play import Trial

FORMATS = (".png", ".webp", ".svg", ".pdf")
# One hue a loss, from the palette of Okabe & Ito that colour-blind readers tell apart.
COLOURS = {
    "minimax": "#D55E00",
    "non-saturating": "#E69F00",
    "lsgan": "#B8A800",
    "hinge": "#000000",
    "wgan": "#56B4E9",
    "wgan-gp": "#0072B2",
    "fgan-kl": "#009E73",
    "fgan-js": "#CC79A7",
    "rpgan": "#7A4FA3",
}
# dashed, so that both can be seen: f-GAN's Jensen-Shannon generator is minimax's and a constant, and the relativistic
# one beside a real logit of 0 is the non-saturating one
DASHED = {"fgan-js": (0, (4, 3)), "rpgan": (0, (4, 3))}
ROW, CURVES = 3.0, 5.4  # inches of height: a row of samples, the curves below
SAMPLE, COVERED, MISSED = "#20407A", "#2A9D4A", "#D02020"


def draw(
    path: Path,
    trials: Mapping[str, Sequence[Trial]],
    norms: Mapping[str, Sequence[float]],
    steps: Sequence[int],
) -> None:
    """Writes the picture, in the format that the file's ending names.

    Args:
        trials: name of a game (`training.ring.play.GAMES`) -> one trial a loss. A game is a row, a loss a column.
        norms: loss name -> gradient norms after `steps` steps of the discriminator (`play.gradient_norms`).
    """
    rows = len(trials)
    figure = Figure(figsize=(18, ROW * rows + CURVES), layout="constrained")
    figure.suptitle(
        f"{len(COLOURS)} losses on a ring of eight Gaussians.   Blue: samples.   Circles: modes, green where covered, "
        "red where missed.   Grey: level lines of the discriminator.",
        fontsize=13,
    )
    grid = figure.add_gridspec(rows + 1, 1, height_ratios=[ROW] * rows + [CURVES])
    for place, row in enumerate(trials.values()):
        _samples(figure.add_subfigure(grid[place]), row)
    left, middle, right = figure.add_subfigure(grid[rows]).subplots(1, 3)
    _slopes(left)
    _norms(middle, norms, steps)
    _modes(right, trials["sharp"])
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip("."), dpi=100)


def _samples(band: SubFigure, row: Sequence[Trial]) -> None:
    game = row[0].game
    ring = game.ring
    band.suptitle(
        f"{game.title[0].upper()}{game.title[1:]}   (radius {ring.radius:g}, deviation {ring.deviation:g}; rates: "
        f"generator {game.g_rate:g}, discriminator {game.d_rate:g}; {game.steps} steps)",
        x=0.005, ha="left", fontsize=13, fontweight="bold",
    )  # fmt: skip
    for axes, trial in zip(band.subplots(1, len(row), squeeze=False)[0], row, strict=True):
        _contours(axes, trial)
        axes.scatter(*trial.samples.T, s=5, color=SAMPLE, alpha=0.3, linewidths=0)
        for place, (x, y) in enumerate(ring.centres().tolist()):
            colour = COVERED if place in trial.coverage.found else MISSED
            axes.add_patch(Circle((x, y), max(4 * ring.deviation, 0.1 * ring.radius), fill=False, lw=1.8, color=colour))
        axes.set_title(f"{trial.loss.name}", fontsize=13, color=COLOURS[trial.loss.name], fontweight="bold")
        axes.set_xlabel(f"{trial.coverage.modes} of 8 modes · {trial.coverage.quality:.0%} close", fontsize=11)
        reach = 1.45 * ring.radius
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect="equal")


def _contours(axes: Axes, trial: Trial) -> None:
    """Level lines of the discriminator, at even quantiles of its logit over the square."""
    reach = 1.45 * trial.game.ring.radius
    line = torch.linspace(-reach, reach, 120)
    y, x = torch.meshgrid(line, line, indexing="ij")
    with torch.no_grad():
        logits = trial.critic(torch.stack([x, y], dim=2).reshape(-1, 2)).reshape(x.shape)
    levels = torch.quantile(logits, torch.linspace(0.1, 0.9, 7)).unique()
    axes.contour(x, y, logits, levels=levels, colors="#C4C4C4", linewidths=0.7, linestyles="solid")


def _slopes(axes: Axes) -> None:
    logits = torch.linspace(-8, 4, 241)
    for name, loss in LOSSES.items():
        axes.plot(logits, _slope(loss, logits), color=COLOURS[name], ls=DASHED.get(name, "-"), lw=2, label=name)
    axes.set(yscale="log", ylim=(2e-4, 20), xlabel="logit of a generated sample", xlim=(-8, 4))
    axes.set_title("How hard a loss pulls on a sample:  |d loss / d logit|", fontsize=13, fontweight="bold")
    axes.annotate("hinge, wgan, wgan-gp: always 1", (-7.8, 1.12), fontsize=11)
    axes.annotate("← the discriminator is sure: fake", (0.02, 0.02), xycoords="axes fraction", fontsize=11)
    axes.grid(alpha=0.3)


def _slope(loss: Loss, logits: torch.Tensor) -> torch.Tensor:
    logits = logits.clone().requires_grad_(True)
    value = loss.generator(fake=logits, real=torch.zeros_like(logits))
    (slope,) = torch.autograd.grad(value * len(logits), logits)
    return slope.abs()


def _norms(axes: Axes, norms: Mapping[str, Sequence[float]], steps: Sequence[int]) -> None:
    for name, values in norms.items():
        axes.plot(steps, values, color=COLOURS[name], ls=DASHED.get(name, "-"), lw=2, label=name)
    axes.set(xscale="log", yscale="log", xlabel="steps of the discriminator alone, towards optimality")
    axes.set_title("Norm of the generator's gradient, generator held still", fontsize=13, fontweight="bold")
    axes.legend(fontsize=11, loc="upper left", ncols=2)
    axes.grid(alpha=0.3)


def _modes(axes: Axes, row: Sequence[Trial]) -> None:
    game = row[0].game
    for place, trial in enumerate(row):
        found = [0, *(look.modes for look in trial.history)]
        steps = [game.steps * k / len(trial.history) for k in range(len(found))]
        shift = (place - len(row) / 2) * 0.05  # so that equal counts do not hide each other
        name = trial.loss.name
        axes.plot(steps, [m + shift for m in found], color=COLOURS[name], ls=DASHED.get(name, "-"), lw=2, label=name)
    axes.set(xlabel="steps", ylim=(-0.4, 8.6), yticks=range(9))
    axes.set_title(f"Modes covered: {game.title}", fontsize=13, fontweight="bold")
    axes.grid(alpha=0.3)

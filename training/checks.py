"""What a run's options must be, each refused by its flag: what both kinds of run share (training/config.py)."""

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from models import InputError
from training.augment import POLICIES
from training.losses import LOSSES

if TYPE_CHECKING:
    from training.config import SamplerGame, TranslatorGame


def check_common(run: Any) -> None:
    """Data, output, pace, rates, watch and machine of either run, and its game."""
    pace, optimizer, watch = run.pace, run.optimizer, run.watch
    for options in asdict(run).values():
        for name, value in options.items():
            require(not isinstance(value, float) or math.isfinite(value), name, "must be a finite number", value)
    require(bool(run.data.data), "data", "is missing: a folder, a .zip, or `fake`", run.data.data)
    require(bool(run.output.out), "out", "is missing: the folder to write the run to", run.output.out)
    require("/" not in run.output.name, "name", "must be a file's name, without a folder", run.output.name)
    _check_adversary(run.game)
    positive("batch", pace.batch)
    for name in ("kimg", "tick_kimg", "sample_kimg", "snapshot_kimg"):
        positive(name, getattr(pace, name))
    require(pace.kimg >= 0.001, "kimg", "must be 0.001 (one image) or more", pace.kimg)
    require(0 <= pace.seed < 2**63, "seed", "must be in [0, 2^63)", pace.seed)
    positive("g_lr", optimizer.g_lr)
    positive("d_lr", optimizer.d_lr)
    require(0 <= optimizer.beta1 < 1, "beta1", "must be in [0, 1)", optimizer.beta1)
    require(0 <= optimizer.beta2 < 1, "beta2", "must be in [0, 1)", optimizer.beta2)
    require(0 <= optimizer.decay_kimg <= pace.kimg, "decay_kimg", "must be in [0, kimg]", optimizer.decay_kimg)
    require(0 <= optimizer.g_warmup_kimg < pace.kimg, "g_warmup_kimg", "must be in [0, kimg)", optimizer.g_warmup_kimg)
    require(optimizer.ema_kimg >= 0, "ema_kimg", "must be 0 or more", optimizer.ema_kimg)
    require(watch.fid_kimg >= 0, "fid_kimg", "must be 0 or more", watch.fid_kimg)
    require(watch.fid_images >= 2, "fid_images", "must be 2 or more", watch.fid_images)
    for name in ("kid", "fid_reference"):
        asked = getattr(watch, name)
        require(not asked or watch.fid_kimg > 0, name, "needs --fid-kimg, which says when to measure", asked)
    require(run.machine.threads >= 0, "threads", "must be 0 or more", run.machine.threads)


def _check_adversary(game: "SamplerGame | TranslatorGame") -> None:
    """The discriminator's side of either game."""
    require(game.loss in LOSSES, "loss", f"must be one of {', '.join(LOSSES)}", game.loss)
    positive("d_steps", game.d_steps)
    positive("g_steps", game.g_steps)
    require(0 <= game.label_smoothing < 0.5, "label_smoothing", "must be in [0, 0.5)", game.label_smoothing)
    require(0 <= game.label_noise < 0.5, "label_noise", "must be in [0, 0.5)", game.label_noise)
    require(
        LOSSES[game.loss].label_smoothing or game.label_smoothing == 0,
        "label_smoothing",
        f"has no meaning with {game.loss}, which compares with no label",
        game.label_smoothing,
    )
    require(set(game.policy) <= set(POLICIES), "augment", f"takes any of {','.join(POLICIES)}", game.augment)
    for name in ("instance_noise", "r1", "feature_matching", "perceptual"):
        require(getattr(game, name) >= 0, name, "must be 0 or more", getattr(game, name))


def check_projected(
    game: "SamplerGame | TranslatorGame", norm: str, usual: tuple[str, ...], side_name: str, side: int
) -> None:
    """What would ask a projected discriminator for second derivatives, or for another shape than it has.

    Args:
        usual: the norms that leave it its own.
        side_name, side: the option that says at which side its backbone sees images.
    """
    require(norm in usual, "discriminator_norm", "is settled for a projected discriminator: leave it out", norm)
    loss = LOSSES[game.loss]
    critic = loss.gradient_penalty is not None or loss.weight_clip is not None
    require(not critic, "loss", "must be one without a penalty or clipping for a projected discriminator", game.loss)
    for name in ("r1", "feature_matching"):
        require(getattr(game, name) == 0, name, "does not go with a projected discriminator", getattr(game, name))
    require(side >= 64 and side % 32 == 0, side_name, "must be a multiple of 32, 64 or more", side)


def positive(name: str, value: float) -> None:
    """Refuses an option that is not more than 0."""
    require(value > 0, name, "must be more than 0", value)


def require(ok: bool, name: str, rule: str, value: object) -> None:
    """Raises InputError, which names the option's flag, the rule and what was given, unless `ok`."""
    if not ok:
        raise InputError(f"--{name.replace('_', '-')} {rule}; got {value!r}.", where=name)

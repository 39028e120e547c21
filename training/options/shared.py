"""What a run's options must be, each refused by its flag: what both kinds of run share (training/games/kinds.py)."""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from training.objective.augment import POLICIES
from training.objective.losses import LOSSES
from training.options.flags import option, positive, require

if TYPE_CHECKING:
    from training.games.cyclegan_options import TranslatorGame
    from training.games.dcgan_options import SamplerGame


@dataclass(frozen=True)
class Adversary:
    """The discriminator's side of either game: the tricks of the trade (`training/games/judge.py`)."""

    loss: str = option("non-saturating", f"one of: {', '.join(LOSSES)}")
    d_steps: int = option(1, "discriminator steps per iteration (k of the first paper; 5 for Wasserstein)")
    g_steps: int = option(1, "generator steps per iteration")
    label_smoothing: float = option(0.0, "one-sided: share of the real label taken away; 0.1 is usual, 0 is exact")
    label_noise: float = option(0.0, "chance that a real and a fake exchange their labels")
    instance_noise: float = option(0.0, "deviation of noise on the discriminator's input, falling to 0 over the run")
    r1: float = option(0.0, "weight of R1, the squared gradient at real images; 0 is off")
    feature_matching: float = option(0.0, "weight of feature matching, added to the generator's loss")
    augment: str = option("", f"differentiable augmentation, for little data: any of {','.join(POLICIES)}")

    @property
    def policy(self) -> tuple[str, ...]:
        return tuple(name for name in self.augment.split(",") if name)


@dataclass(frozen=True)
class Optimizer:
    """Optimizers (Adam)."""

    g_lr: float = option(2e-4, "generator's learning rate")
    d_lr: float = option(2e-4, "discriminator's learning rate; TTUR (Heusel 2017) makes it larger, e.g. 4e-4")
    beta1: float = option(0.5, "Adam's beta1; 0.5 as DCGAN, 0 with Wasserstein and hinge")
    beta2: float = option(0.999, "Adam's beta2")
    g_warmup_kimg: float = option(
        0.0, "length of a linear rise of the generator's rate from 0; with --start, new discriminators need some"
    )
    decay_kimg: float = option(0.0, "length of a linear fall of both rates to 0 at the end; 0: constant")
    ema_kimg: float = option(10.0, "half-life of the averaged generator, the one that is served; 0: no average")


@dataclass(frozen=True)
class Pace:
    """Length and rhythm."""

    kimg: float = option(1000.0, "length of the run, in thousands of images")
    batch: int = option(64, "images per step, over all processes together")
    tick_kimg: float = option(4.0, "a log line every so many kimg")
    sample_kimg: float = option(20.0, "a grid of samples every so many kimg")
    snapshot_kimg: float = option(20.0, "a snapshot and an inference checkpoint every so many kimg")
    seed: int = option(0, "fixes weights, data order and every random draw")


@dataclass(frozen=True)
class Watch:
    """What is measured and shown on the way."""

    fid_kimg: float = option(0.0, "FID every so many kimg; 0: never. The best snapshot is kept")
    fid_images: int = option(10000, "generated images for FID")
    fid_reference: str = option("", "statistics .npz, folder or archive to compare with; default: the training data")
    kid: bool = option(False, "measure KID as well, at the same moments")
    tensorboard: bool = option(True, "write scalars and grids for TensorBoard")
    animation: Literal["gif", "webp", "none"] = option("webp", "film of the fixed samples over the run, at its end")


@dataclass(frozen=True)
class Machine:
    """Machine. These may change when a run is resumed."""

    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    threads: int = option(0, "CPU threads for torch; 0: torch's own choice")
    precision: Literal["auto", "bf16", "fp32"] = option(
        "auto", "auto: bf16 where the machine is faster in it (on a CPU a layer is timed), else fp32"
    )
    channels_last: bool = option(True, "memory layout; faster on CPUs and tensor cores")
    graphs: bool = option(False, "dcgan on a GPU: CUDA graphs of the passes through its networks (docs/speed.md)")
    compile: bool = option(False, "cyclegan on a GPU: torch.compile and CUDA graphs; a slow start, then 3 times faster")


@dataclass(frozen=True)
class Output:
    """Output."""

    out: str = option("", "folder of the run: configuration, log, samples, snapshots, checkpoint")
    name: str = option("", "name of the inference checkpoint; default: the folder's name")


# Options that say where and how fast a run goes, not what it computes: a resumed run may change them ...
CHANGEABLE = ("machine.", "output.", "watch.", "data.data")

# ... and these, while no learning rate has begun to fall: a run can be made longer.
SCHEDULE = ("pace.kimg", "optimizer.decay_kimg")


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

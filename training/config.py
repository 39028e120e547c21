"""What a run is: two frozen dataclasses, from which the flags, the JSON file and the snapshot's identity are made.

Every default is either the paper's or stated with its reason. Lengths are in kimg: thousands of real images that
the discriminator has seen (for CycleGAN: thousands of pairs), so that they mean the same at every batch size.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from training.augment import POLICIES
from training.checks import check_common, check_projected, positive, require
from training.flags import option
from training.losses import LOSSES


@dataclass(frozen=True)
class SamplerData:
    """Data."""

    data: str = option("", "folder, .zip, or `fake`: MNIST, CIFAR-10, one folder per class, or a flat folder")
    image_size: int = option(64, "side in pixels; images are scaled by their shorter side and cut at the centre")
    channels: int = option(3, "3 for colour, 1 for grey")
    flips: bool = option(False, "mirror half of the images; off, since digits and text have a handedness")
    conditional: bool = option(False, "learn one class per label (class embedding, projection discriminator)")
    skip_broken: bool = option(False, "list images that do not decode and go on without them; off: refuse")


@dataclass(frozen=True)
class SamplerNetwork:
    """Networks."""

    network: Literal["dcgan", "mlp"] = option("dcgan", "dcgan, or mlp: the fully connected GAN of the first paper")
    latent_size: int = option(100, "numbers that the generator draws an image from")
    width: int = option(64, "channels of the generator's highest-resolution layer; doubled at each lower one")
    discriminator: Literal["dcgan", "projected"] = option(
        "dcgan", "dcgan; or projected: on ImageNet features (docs/training.md), good pictures in a tenth of the images"
    )
    feature_size: int = option(64, "projected: side in pixels that images are scaled to for the features")
    discriminator_width: int = option(64, "the same for the discriminator")
    max_multiplier: int = option(8, "the doubling stops at width times this")
    discriminator_norm: Literal["auto", "batch", "layer", "spectral", "none"] = option(
        "auto", "auto: batch, as DCGAN; but layer with a gradient penalty (wgan-gp, --r1). spectral goes with hinge"
    )
    refine: bool = option(False, "one more 3 x 3 convolution per resolution in the discriminator; better, slower")
    dropout: float = option(0.0, "dropout before the discriminator's last layer (mlp: usual is 0.3)")
    class_embedding: int = option(
        32, "conditional: components of a class beside the latent; 0: each class scales and shifts every batch norm"
    )
    start: str = option("", "checkpoint to begin the generator with; the discriminator begins anew")
    hidden: int = option(1200, "mlp: units in each of the generator's hidden layers")
    discriminator_hidden: int = option(240, "mlp: maxout units in each of the discriminator's hidden layers")


@dataclass(frozen=True)
class Adversary:
    """The discriminator's side of either game: the tricks of the trade (`training/judge.py`)."""

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
class SamplerGame(Adversary):
    """The game: losses and tricks of the trade."""

    perceptual: float = option(0.0, "weight of mean Inception activations matched, added to the generator's loss")


@dataclass(frozen=True)
class TranslatorData:
    """Data."""

    data: str = option("", "folder or .zip with trainA and trainB (testA, testB are used when present), or `fake`")
    image_size: int = option(256, "side in pixels of the training crop; a multiple of 4")
    load_size: int = option(0, "side that images are scaled to before the crop; 0: 286/256 of image_size, as the paper")
    flips: bool = option(True, "mirror half of the images, as the paper")
    domain_a: str = option("", "name of domain A; taken from a folder named like horse2zebra, else `a`")
    domain_b: str = option("", "name of domain B")
    skip_broken: bool = option(False, "list images that do not decode and go on without them; off: refuse")


@dataclass(frozen=True)
class TranslatorNetwork:
    """Networks."""

    width: int = option(64, "channels of the generator's first layer, as the paper")
    blocks: int = option(9, "residual blocks: 9 from 256 px on, 6 below, in the paper")
    start: str = option("", "checkpoint to begin both generators with; the discriminators begin anew")
    discriminator: Literal["patch", "projected"] = option(
        "patch", "patch, as the paper; or projected: on ImageNet features (docs/training.md)"
    )
    discriminator_width: int = option(64, "channels of the discriminator's first layer")
    discriminator_norm: Literal["instance", "spectral"] = option("instance", "as the paper")


@dataclass(frozen=True)
class TranslatorGame(Adversary):
    """The game: losses and tricks of the trade."""

    loss: str = option("lsgan", f"as the paper; or one of: {', '.join(LOSSES)}")
    cycle: float = option(10.0, "weight of cycle consistency (lambda)")
    identity: float = option(0.5, "weight of the identity loss, as a share of lambda; keeps colours; 0 is off")
    perceptual: float = option(0.0, "weight of Inception activations of an image and its round trip; 0 is off")
    pool: int = option(50, "translations kept to show the discriminator past ones; 0 is off")


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
    graphs: bool = option(False, "dcgan on a GPU: CUDA graphs of the passes through its networks (docs/training.md)")
    compile: bool = option(False, "cyclegan on a GPU: torch.compile and CUDA graphs; a slow start, then 3 times faster")


@dataclass(frozen=True)
class Output:
    """Output."""

    out: str = option("", "folder of the run: configuration, log, samples, snapshots, checkpoint")
    name: str = option("", "name of the inference checkpoint; default: the folder's name")


@dataclass(frozen=True)
class DCGANRun:
    """A run that trains a sampler: latents to images."""

    data: SamplerData = field(default_factory=SamplerData)
    network: SamplerNetwork = field(default_factory=SamplerNetwork)
    game: SamplerGame = field(default_factory=SamplerGame)
    optimizer: Optimizer = field(default_factory=Optimizer)
    pace: Pace = field(default_factory=Pace)
    watch: Watch = field(default_factory=Watch)
    machine: Machine = field(default_factory=Machine)
    output: Output = field(default_factory=Output)

    def __post_init__(self) -> None:
        check_common(self)
        game, network, data = self.game, self.network, self.data
        require(data.channels in (1, 3), "channels", "must be 1 or 3", data.channels)
        # seen with torch 2.11 on an H100: what convolutions give back is laid out otherwise than was compiled for
        require(not self.machine.compile, "compile", "is for cyclegan: DCGAN's gradients fail in it", True)
        if network.network == "dcgan":
            sizes = (16, 32, 64, 128, 256)
            require(data.image_size in sizes, "image_size", f"must be one of {sizes}", data.image_size)
        else:
            require(not data.conditional, "conditional", "needs --network dcgan", data.conditional)
            require(data.image_size >= 4, "image_size", "must be 4 or more", data.image_size)
        for name in ("width", "discriminator_width", "max_multiplier", "latent_size", "hidden", "discriminator_hidden"):
            positive(name, getattr(network, name))
        require(network.class_embedding >= 0, "class_embedding", "must be 0 or more", network.class_embedding)
        require(0 <= network.dropout < 1, "dropout", "must be in [0, 1)", network.dropout)
        if network.discriminator == "projected":
            require(network.network == "dcgan", "discriminator", "projected needs --network dcgan", network.network)
            rule = "has no meaning for a projected discriminator"
            require(not network.refine, "refine", rule, network.refine)
            require(network.dropout == 0, "dropout", rule, network.dropout)
            check_projected(game, network.discriminator_norm, ("auto", "batch"), "feature_size", network.feature_size)
        penalised = LOSSES[game.loss].gradient_penalty is not None or game.r1 > 0
        norm = network.discriminator_norm
        if norm == "auto":  # settled here, so that a run's file says what it trained with
            norm = "none" if network.network == "mlp" else "layer" if penalised else "batch"
            object.__setattr__(self, "network", replace(network, discriminator_norm=norm))
        require(
            not (penalised and norm == "batch" and network.network == "dcgan"),
            "discriminator_norm",
            "must be layer, spectral or none with a gradient penalty, since batch norm couples the images",
            norm,
        )


def _cyclegan_optimizer() -> Optimizer:
    return Optimizer(ema_kimg=1.0, decay_kimg=133.4)


def _cyclegan_pace() -> Pace:
    # 266.8 kimg are the paper's 200 epochs of horse2zebra's 1,334 zebras
    return Pace(kimg=266.8, batch=1, tick_kimg=0.1, sample_kimg=0.5, snapshot_kimg=0.5)


@dataclass(frozen=True)
class CycleGANRun:
    """A run that trains a translator: photos of A to photos of B and back."""

    data: TranslatorData = field(default_factory=TranslatorData)
    network: TranslatorNetwork = field(default_factory=TranslatorNetwork)
    game: TranslatorGame = field(default_factory=TranslatorGame)
    optimizer: Optimizer = field(default_factory=_cyclegan_optimizer)
    pace: Pace = field(default_factory=_cyclegan_pace)
    watch: Watch = field(default_factory=Watch)
    machine: Machine = field(default_factory=Machine)
    output: Output = field(default_factory=Output)

    def __post_init__(self) -> None:
        check_common(self)
        data, network, game = self.data, self.network, self.game
        size = data.image_size
        require(size >= 32 and size % 4 == 0, "image_size", "must be a multiple of 4, 32 or more", size)
        require(
            data.load_size == 0 or data.load_size >= size,
            "load_size",
            "must be 0, or image_size or more",
            data.load_size,
        )
        positive("width", network.width)
        positive("blocks", network.blocks)
        positive("discriminator_width", network.discriminator_width)
        if network.discriminator == "projected":
            check_projected(game, network.discriminator_norm, ("instance",), "image_size", size)
            require(not self.machine.compile, "compile", "was not tried with a projected discriminator", True)
        require(not self.machine.graphs, "graphs", "is for dcgan; cyclegan has --compile", True)
        for name in ("cycle", "identity", "pool"):
            require(getattr(game, name) >= 0, name, "must be 0 or more", getattr(game, name))

    @property
    def load_size(self) -> int:
        return self.data.load_size or round(self.data.image_size * 286 / 256)


Run = DCGANRun | CycleGANRun
RUNS: dict[str, type[DCGANRun] | type[CycleGANRun]] = {"dcgan": DCGANRun, "cyclegan": CycleGANRun}

# Options that say where and how fast a run goes, not what it computes: a resumed run may change them ...
CHANGEABLE = ("machine.", "output.", "watch.", "data.data")
# ... and these, while no learning rate has begun to fall: a run can be made longer.
SCHEDULE = ("pace.kimg", "optimizer.decay_kimg")


def kind_of(run: Run) -> str:
    """ "dcgan" or "cyclegan": the subcommand and the file format's word for this kind of run."""
    return next(kind for kind, type_ in RUNS.items() if isinstance(run, type_))

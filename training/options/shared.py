"""The groups of options that all games share, each with its bounds. What spans two groups is in `run.py`."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from training.engine.schedules import Schedule, annealing, constant, fading, falling, growing, rising
from training.objective.augment import POLICIES
from training.objective.losses import LOSSES
from training.options.base import Options, require

# what is the same in every game but for its default
LossName = Annotated[str, Field(description=f"one of: {', '.join(LOSSES)}")]
EmaKimg = Annotated[
    float,
    Field(ge=0, description="half-life of the averaged generator, the one that is served; 0: no average"),
]
DecayKimg = Annotated[
    float, Field(ge=0, description="length of a linear fall of both rates to 0 at the end; 0: constant")
]
Kimg = Annotated[float, Field(ge=0.001, le=1e9, description="length of the run, in thousands of images")]
Batch = Annotated[int, Field(gt=0, le=2**20, description="images per step, over all processes together")]
TickKimg = Annotated[float, Field(gt=0, description="a log line every so many kimg")]
SampleKimg = Annotated[float, Field(gt=0, description="a grid of samples every so many kimg")]
SnapshotKimg = Annotated[float, Field(gt=0, description="a snapshot and an inference checkpoint every so many kimg")]


class Data(Options):
    """Data."""

    data: str = Field("", description="folder, .zip, or `fake`")
    skip_broken: bool = Field(False, description="list images that do not decode and go on without them; off: refuse")
    packed: str = Field(
        "",
        description="folder that keeps the decoded images in files, which are mapped: for data larger than memory; "
        "off: in memory",
    )


class Network(Options):
    """Networks."""

    start: str = Field(
        "", description="checkpoint, or folder of a run, to begin with; a checkpoint's discriminators begin anew"
    )


class Adversary(Options):
    """The discriminator's side of any game: the tricks of the trade (`training/games/judge.py`)."""

    loss: LossName = "non-saturating"
    d_steps: int = Field(1, gt=0, description="discriminator steps per iteration (k of the first paper)")
    g_steps: int = Field(1, gt=0, description="generator steps per iteration")
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="one-sided: share of the real label taken away; 0.1 is usual, 0 is exact",
    )
    label_noise: float = Field(0.0, ge=0, lt=0.5, description="chance that a real and a fake exchange their labels")
    instance_noise: float = Field(
        0.0, ge=0, description="deviation of noise on the discriminator's input, falling to 0 over the run"
    )
    r1: float = Field(0.0, ge=0, description="weight of R1, the squared gradient at real images; 0 is off")
    r2: float = Field(0.0, ge=0, description="weight of R2, the squared gradient at generated images; 0 is off")
    burn_in_r1: float = Field(0.0, ge=0, description="weight of R1 where the burn-in begins; 0: as --r1")
    burn_in_r2: float = Field(0.0, ge=0, description="weight of R2 where the burn-in begins; 0: as --r2")
    feature_matching: float = Field(0.0, ge=0, description="weight of feature matching, added to the generator's loss")
    perceptual: float = Field(
        0.0,
        ge=0,
        description="weight of Inception activations: of a sampler's images in the mean, or of a translator's "
        "photo and its round trip; 0 is off",
    )
    augment: str = Field("", description=f"differentiable augmentation, for little data: any of {','.join(POLICIES)}")
    augment_chance: float = Field(
        1.0, gt=0, le=1, description="chance that an image is augmented; rises to it from 0 over a burn-in"
    )

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, name: str) -> str:
        require(name in LOSSES, "loss", f"must be one of {', '.join(LOSSES)}", name)
        return name

    @field_validator("augment")
    @classmethod
    def _known_policies(cls, names: str) -> str:
        require(set(_split(names)) <= set(POLICIES), "augment", f"takes any of {','.join(POLICIES)}", names)
        return names

    @model_validator(mode="after")
    def _labels_have_a_meaning(self) -> "Adversary":
        require(
            LOSSES[self.loss].label_smoothing or self.label_smoothing == 0,
            "label_smoothing",
            f"has no meaning with {self.loss}, which compares with no label",
            self.label_smoothing,
        )
        return self

    @property
    def policy(self) -> tuple[str, ...]:
        """The augmentations, by name."""
        return _split(self.augment)

    @property
    def noise(self) -> Schedule:
        """The deviation of instance noise."""
        return constant(self.instance_noise) * fading() if self.instance_noise else constant(0.0)


def _split(names: str) -> tuple[str, ...]:
    return tuple(name for name in names.split(",") if name)


class Optimizer(Options):
    """Optimizers (Adam)."""

    g_lr: float = Field(2e-4, gt=0, description="generator's learning rate")
    d_lr: float = Field(
        2e-4, gt=0, description="discriminator's learning rate; TTUR (Heusel 2017) makes it larger, e.g. 4e-4"
    )
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's beta1; 0.5 as DCGAN, 0 with Wasserstein and hinge")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's beta2")
    g_warmup_kimg: float = Field(
        0.0,
        ge=0,
        description="length of a linear rise of the generator's rate from 0; with --start, new discriminators "
        "need some",
    )
    decay_kimg: DecayKimg = 0.0
    ema_kimg: EmaKimg = 10.0
    burn_in_kimg: float = Field(
        0.0,
        ge=0,
        description="length of a burn-in, over which rates, beta2, R1 and R2 go along half a cosine from their "
        "--burn-in values to where they stay, and the average's half-life and --augment-chance from 0; 0: none",
    )
    burn_in_g_lr: float = Field(0.0, ge=0, description="the generator's rate where the burn-in begins; 0: as --g-lr")
    burn_in_d_lr: float = Field(
        0.0, ge=0, description="the discriminator's rate where the burn-in begins; 0: as --d-lr"
    )
    burn_in_beta2: float = Field(0.0, ge=0, lt=1, description="beta2 where the burn-in begins; 0: as --beta2")

    @property
    def g_rate(self) -> Schedule:
        """The generator's rate: a rise from 0, the burn-in beside it; then constant, then the fall to 0."""
        return self.burnt_in(self.burn_in_g_lr, self.g_lr) * rising(self.g_warmup_kimg) * falling(self.decay_kimg)

    @property
    def d_rate(self) -> Schedule:
        """The discriminator's rate: the burn-in, then constant, then the fall to 0."""
        return self.burnt_in(self.burn_in_d_lr, self.d_lr) * falling(self.decay_kimg)

    @property
    def second_decay(self) -> Schedule:
        """Adam's beta2, by which its second moment decays."""
        return self.burnt_in(self.burn_in_beta2, self.beta2)

    @property
    def half_life(self) -> Schedule:
        """The averages' half-life in images. Early on it is short, or the first, untrained weights would linger: a
        twentieth of the images so far at most (Karras et al. 2020), or what the burn-in says."""
        most = self.ema_kimg * 1000
        return annealing(0.0, most, self.burn_in_kimg) if self.burn_in_kimg else growing(0.05, most)

    def burnt_in(self, start: float, end: float) -> Schedule:
        """A number over the burn-in and after it; a `start` of 0 stands for none."""
        return annealing(start or end, end, self.burn_in_kimg)


class Pace(Options):
    """Length and rhythm."""

    kimg: Kimg = 1000.0
    batch: Batch = 64
    tick_kimg: TickKimg = 4.0
    sample_kimg: SampleKimg = 20.0
    snapshot_kimg: SnapshotKimg = 20.0
    seed: int = Field(0, ge=0, lt=2**63, description="fixes weights, data order and every random draw")

    @property
    def images(self) -> int:
        """The length of the run in images."""
        return round(self.kimg * 1000)


class Watch(Options):
    """What is measured and shown on the way."""

    fid_kimg: float = Field(0.0, ge=0, description="FID every so many kimg; 0: never. The best snapshot is kept")
    fid_images: int = Field(10000, ge=2, le=10**7, description="generated images for FID")
    extractor: str = Field(
        "", description="measure by a classifier's .safetensors or an ONNX network, in place of the Inception"
    )
    kid: bool = Field(False, description="measure KID as well, at the same moments")
    tensorboard: bool = Field(True, description="write scalars and grids for TensorBoard")
    animation: Literal["gif", "webp", "none"] = Field(
        "webp", description="film of the fixed samples over the run, at its end"
    )


class Machine(Options):
    """Machine. These may change when a run is resumed."""

    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: int = Field(0, ge=0, le=4096, description="CPU threads for torch; 0: torch's own choice")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="auto: bf16 where the machine is faster in it (on a CPU a layer is timed), else fp32"
    )
    channels_last: bool = Field(True, description="memory layout; faster on CPUs and tensor cores")
    graphs: bool = Field(
        False, description="dcgan on a GPU: CUDA graphs of the passes through its networks (docs/speed.md)"
    )
    compile: bool = Field(
        False,
        description="cyclegan on a GPU: torch.compile and CUDA graphs; a slow start, then 3 times faster",
    )


class Output(Options):
    """Output."""

    out: str = Field("", description="folder of the run: configuration, log, samples, snapshots, checkpoint")
    name: str = Field("", description="name of the inference checkpoint; default: the folder's name")

    @field_validator("name")
    @classmethod
    def _no_folder(cls, name: str) -> str:
        require("/" not in name, "name", "must be a file's name, without a folder", name)
        return name


CHECKPOINTS = ("start", "teacher")
"""Options of a run's networks that name a checkpoint: paths of one machine, where there are such options."""

# Options that say where and how fast a run goes, not what it computes: a resumed run may change them ...
CHANGEABLE = ("machine.", "output.", "watch.", "data.data", "data.packed")

# ... and these, until a schedule begins to depend on the run's length: a run can be made longer.
SCHEDULE = ("pace.kimg", "optimizer.decay_kimg")

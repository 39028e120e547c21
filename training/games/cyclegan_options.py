"""The options of a CycleGAN run."""

from dataclasses import dataclass, field
from typing import Literal

from training.objective.losses import LOSSES
from training.options.flags import option, positive, require
from training.options.shared import Adversary, Machine, Optimizer, Output, Pace, Watch, check_common, check_projected


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

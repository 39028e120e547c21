"""The options of a CycleGAN run. The defaults are the paper's."""

from typing import Literal, Self

from pydantic import Field, model_validator

from models import PatchGANConfig, ResNetConfig
from training.games.architectures import config_of
from training.games.translator import TranslatorRun
from training.options.base import require
from training.options.run import check_projected
from training.options.shared import (
    Adversary,
    Batch,
    DecayKimg,
    EmaKimg,
    Kimg,
    LossName,
    Network,
    Optimizer,
    Pace,
    SampleKimg,
    SnapshotKimg,
    TickKimg,
)

CLASSES = 1000  # of ImageNet


def class_range(text: str) -> range:
    """The classes that FIRST-LAST stands for, both among them; raises InputError."""
    first, _, last = text.partition("-")
    proper = first.isdecimal() and last.isdecimal() and int(first) <= int(last) < CLASSES
    require(proper, "guide_classes", f"is FIRST-LAST, two of ImageNet's classes from 0 to {CLASSES - 1}", text)
    return range(int(first), int(last) + 1)


class CycleGANNetwork(Network):
    """Networks."""

    width: int = Field(64, gt=0, description="channels of the generator's first layer, as the paper")
    blocks: int = Field(9, gt=0, description="residual blocks: 9 from 256 px on, 6 below, in the paper")
    discriminator: Literal["patch", "projected"] = Field(
        "patch", description="patch, as the paper; or projected: on ImageNet features (docs/training.md)"
    )
    discriminator_width: int = Field(64, gt=0, description="channels of the discriminator's first layer")
    discriminator_norm: Literal["instance", "spectral"] = Field("instance", description="instance, as the paper")
    attention: int = Field(0, ge=0, description="channels of the head that masks what changes; 0, as the paper: none")
    painter: Literal["train", "keep"] = Field(
        "train", description="keep: of the generators train the masks alone, which is quick; with --start"
    )


class CycleGANAdversary(Adversary):
    """The game: losses and tricks of the trade."""

    loss: LossName = "lsgan"
    cycle: float = Field(10.0, ge=0, description="weight of cycle consistency (lambda)")
    identity: float = Field(
        0.5, ge=0, description="weight of the identity loss, as a share of lambda; keeps colours; 0 is off"
    )
    pool: int = Field(50, ge=0, description="translations kept to show the discriminator past ones; 0 is off")
    adversarial: float = Field(
        1.0, ge=0, description="weight of the adversarial loss; 0: discriminators neither judge nor learn"
    )
    sparsity: float = Field(0.0, ge=0, description="weight of the masks' mean (--attention)")
    smoothness: float = Field(0.0, ge=0, description="weight of the masks' variation where the photo has no edges")
    guide: float = Field(
        0.0, ge=0, description="weight of the masks' distance from where a classifier sees --guide-classes"
    )
    guide_classes: str = Field(
        "", description="ImageNet classes that both domains show, FIRST-LAST; 339-355 are horses, zebras and their like"
    )


class CycleGANOptimizer(Optimizer):
    """Optimizers (Adam)."""

    decay_kimg: DecayKimg = 133.4
    ema_kimg: EmaKimg = 1.0


class CycleGANPace(Pace):
    """Length and rhythm."""

    kimg: Kimg = 266.8  # the paper's 200 epochs of horse2zebra's 1,334 zebras
    batch: Batch = 1
    tick_kimg: TickKimg = 0.1
    sample_kimg: SampleKimg = 0.5
    snapshot_kimg: SnapshotKimg = 0.5


class CycleGANRun(TranslatorRun):
    """A run that trains a translator: photos of A to photos of B and back."""

    kind: Literal["cyclegan"] = "cyclegan"
    network: CycleGANNetwork = CycleGANNetwork()
    game: CycleGANAdversary = CycleGANAdversary()
    optimizer: CycleGANOptimizer = CycleGANOptimizer()
    pace: CycleGANPace = CycleGANPace()

    def on_a_gpu(self) -> dict[str, bool]:
        """Compiled, it does not wait for the launch of its many small kernels; not tried with a projected one."""
        return {"compile": self.network.discriminator != "projected"}

    @model_validator(mode="after")
    def _check_networks(self) -> Self:
        self.check_sizes()
        network, machine = self.network, self.machine
        config_of(ResNetConfig, self)
        config_of(PatchGANConfig, self, beside="discriminator_")
        if network.discriminator == "projected":
            check_projected(self, network.discriminator_norm, ("instance",), "image_size", self.data.image_size)
            require(not machine.compile, "compile", "was not tried with a projected discriminator", True)
        game = self.game
        for name, asked in (
            ("painter", network.painter == "keep"),
            ("sparsity", game.sparsity),
            ("smoothness", game.smoothness),
            ("guide", game.guide),
        ):
            require(network.attention > 0 or not asked, name, "needs --attention, which gives masks", asked)
        require(bool(game.guide) == bool(game.guide_classes), "guide", "goes with --guide-classes", game.guide)
        if game.guide_classes:
            class_range(game.guide_classes)
        require(not machine.graphs, "graphs", "is for dcgan; cyclegan has --compile", True)
        return self

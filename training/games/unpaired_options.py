"""The options that the games over unpaired photos share: CycleGAN's and CUT's. Defaults are what both papers take."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models import PatchGANConfig, ResNetConfig
from training.games.architectures import config_of
from training.games.translator import TranslatorRun
from training.options.base import require
from training.options.run import check_projected
from training.options.shared import Adversary, Batch, LossName, Network, Pace, SampleKimg, SnapshotKimg, TickKimg

CLASSES = 1000  # of ImageNet

# what is the same in both games but for its default
Resampling = Annotated[
    Literal["strided", "antialiased"],
    Field(description="how sides are halved and doubled: strided, as CycleGAN's paper, or antialiased, as CUT's"),
]
Pool = Annotated[int, Field(ge=0, description="translations kept to show the discriminator past ones; 0 is off")]


def class_range(text: str) -> range:
    """The classes that FIRST-LAST stands for, both among them; raises InputError."""
    first, _, last = text.partition("-")
    proper = first.isdecimal() and last.isdecimal() and int(first) <= int(last) < CLASSES
    require(proper, "guide_classes", f"is FIRST-LAST, two of ImageNet's classes from 0 to {CLASSES - 1}", text)
    return range(int(first), int(last) + 1)


class UnpairedNetwork(Network):
    """Networks."""

    width: int = Field(64, gt=0, description="channels of the generator's first layer, as the papers")
    blocks: int = Field(9, gt=0, description="residual blocks: 9 from 256 px on, 6 below, in CycleGAN's paper")
    resampling: Resampling = "strided"
    discriminator: Literal["patch", "projected"] = Field(
        "patch", description="patch, as the papers; or projected: on ImageNet features (docs/training.md)"
    )
    discriminator_width: int = Field(64, gt=0, description="channels of the discriminator's first layer")
    discriminator_norm: Literal["instance", "spectral"] = Field("instance", description="instance, as the papers")
    attention: int = Field(0, ge=0, description="channels of the head that masks what changes; 0, as the papers: none")
    sub_pixel: bool = Field(
        False, description="first and last layer on squares of 2 x 2 pixels, which is faster; off, as the papers"
    )
    painter: Literal["train", "keep"] = Field(
        "train", description="keep: of the generators train the masks alone, which is quick; with --start"
    )


class UnpairedAdversary(Adversary):
    """The game: losses and tricks of the trade."""

    loss: LossName = "lsgan"
    pool: Pool = 0
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


class UnpairedPace(Pace):
    """Length and rhythm."""

    batch: Batch = 1
    tick_kimg: TickKimg = 0.1
    sample_kimg: SampleKimg = 0.5
    snapshot_kimg: SnapshotKimg = 0.5


class UnpairedRun(TranslatorRun):
    """A run over unpaired photos of two domains."""

    network: UnpairedNetwork = UnpairedNetwork()
    game: UnpairedAdversary = UnpairedAdversary()
    pace: UnpairedPace = UnpairedPace()

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
        require(not machine.graphs, "graphs", f"is for dcgan; {self.kind} has none", True)
        return self

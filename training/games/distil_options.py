"""The options of a distillation: a small translator that learns what a large one does. Defaults are GAN Compression's,
as far as they fit (Li et al. 2020)."""

from typing import Literal, Self

from pydantic import Field, model_validator

from training.games.unpaired_options import UnpairedAdversary, UnpairedNetwork, UnpairedPace, UnpairedRun
from training.options.base import require
from training.options.shared import DecayKimg, EmaKimg, Kimg, Optimizer


class DistilNetwork(UnpairedNetwork):
    """Networks: the student's, and its opponents'."""

    teacher: str = Field("", description="checkpoint of the translator to learn from; it has to be given")
    width: int = Field(16, gt=0, description="channels of the student's first layer")


class DistilAdversary(UnpairedAdversary):
    """The game: losses and tricks of the trade."""

    imitate: float = Field(
        10.0, gt=0, description="weight of the student's distance from what the teacher paints (lambda_recon)"
    )
    imitate_mask: float = Field(
        0.0, ge=0, description="weight of the distance of its masks from the teacher's, where both have --attention"
    )


class DistilOptimizer(Optimizer):
    """Optimizers (Adam)."""

    decay_kimg: DecayKimg = 20.0
    ema_kimg: EmaKimg = 0.5


class DistilPace(UnpairedPace):
    """Length and rhythm."""

    kimg: Kimg = 40.0


class DistilRun(UnpairedRun):
    """A run that trains a small translator on the translations of a large one."""

    kind: Literal["distil"] = "distil"
    network: DistilNetwork = DistilNetwork()
    game: DistilAdversary = DistilAdversary()
    optimizer: DistilOptimizer = DistilOptimizer()
    pace: DistilPace = DistilPace()

    @model_validator(mode="after")
    def _check_imitation(self) -> Self:
        masks = self.game.imitate_mask
        require(not masks or self.network.attention > 0, "imitate_mask", "needs --attention, which gives masks", masks)
        require(not self.machine.compile, "compile", "is for cyclegan: it was not tried with distil", True)
        return self

"""The options of a CUT run. The defaults are the paper's; `--variant fastcut` brings its quick variant's."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from training.games.unpaired_options import Resampling, UnpairedAdversary, UnpairedNetwork, UnpairedPace, UnpairedRun
from training.objective.contrastive import TEMPERATURE
from training.options.base import require
from training.options.shared import DecayKimg, EmaKimg, Kimg, Optimizer

FASTCUT = {"nce": 10.0, "nce_identity": 0.0, "flip_equivariance": True}


class CUTNetwork(UnpairedNetwork):
    """Networks."""

    resampling: Resampling = "antialiased"
    projection: int = Field(
        256, gt=0, le=4096, description="units in both layers of the projection heads, as the paper"
    )


class CUTAdversary(UnpairedAdversary):
    """The game: losses and tricks of the trade."""

    variant: Literal["cut", "fastcut"] = Field(
        "cut", description="fastcut brings --nce 10 --nce-identity 0 --flip-equivariance, where nothing else is said"
    )
    nce: float = Field(1.0, gt=0, description="weight of PatchNCE of photos of A and their translations (lambda_X)")
    nce_identity: float = Field(
        1.0, ge=0, description="weight of PatchNCE of photos of B, which should stay as they are (lambda_Y); 0 is off"
    )
    flip_equivariance: bool = Field(
        False, description="mirror half of the photos before the generator, and its maps back before they are compared"
    )
    temperature: float = Field(TEMPERATURE, ge=0.001, description="of the contrast between patches (tau)")
    patches: int = Field(256, ge=2, le=2**16, description="places of an image that are compared, in each layer")


class CUTOptimizer(Optimizer):
    """Optimizers (Adam)."""

    decay_kimg: DecayKimg = 266.8
    ema_kimg: EmaKimg = 1.0


class CUTPace(UnpairedPace):
    """Length and rhythm."""

    kimg: Kimg = 533.6  # the paper's 400 epochs of horse2zebra's 1,334 zebras


class CUTRun(UnpairedRun):
    """A run that trains a translator: photos of A to photos of B."""

    kind: Literal["cut"] = "cut"
    network: CUTNetwork = CUTNetwork()
    game: CUTAdversary = CUTAdversary()
    optimizer: CUTOptimizer = CUTOptimizer()
    pace: CUTPace = CUTPace()

    def settled(self) -> dict[str, Any]:
        """What FastCUT changes, where nothing else was asked for."""
        fast = FASTCUT if self.game.variant == "fastcut" else {}
        own = {option: value for option, value in fast.items() if option not in self.game.model_fields_set}
        return super().settled() | own

    @model_validator(mode="after")
    def _check_one_direction(self) -> Self:
        require(self.game.perceptual == 0, "perceptual", "is for dcgan and cyclegan", self.game.perceptual)
        require(not self.machine.compile, "compile", "is for cyclegan: it was not tried with cut", True)
        reference = self.watch.fid_reference_a
        require(not reference, "fid_reference_a", "is for cyclegan: cut translates to B alone", reference)
        return self

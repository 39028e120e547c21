"""The options of a CycleGAN run. The defaults are the paper's."""

from typing import Literal

from pydantic import Field

from training.games.unpaired_options import Pool, UnpairedAdversary, UnpairedPace, UnpairedRun
from training.options.shared import DecayKimg, EmaKimg, Kimg, Optimizer


class CycleGANAdversary(UnpairedAdversary):
    """The game: losses and tricks of the trade."""

    cycle: float = Field(10.0, ge=0, description="weight of cycle consistency (lambda)")
    identity: float = Field(
        0.5, ge=0, description="weight of the identity loss, as a share of lambda; keeps colours; 0 is off"
    )
    learns: Literal["both", "a_to_b", "b_to_a"] = Field(
        "both", description="one direction alone takes a third of the time; the other stays as it began (--start)"
    )
    pool: Pool = 50


class CycleGANOptimizer(Optimizer):
    """Optimizers (Adam)."""

    decay_kimg: DecayKimg = 133.4
    ema_kimg: EmaKimg = 1.0


class CycleGANPace(UnpairedPace):
    """Length and rhythm."""

    kimg: Kimg = 266.8  # the paper's 200 epochs of horse2zebra's 1,334 zebras


class CycleGANRun(UnpairedRun):
    """A run that trains a translator: photos of A to photos of B and back."""

    kind: Literal["cyclegan"] = "cyclegan"
    game: CycleGANAdversary = CycleGANAdversary()
    optimizer: CycleGANOptimizer = CycleGANOptimizer()
    pace: CycleGANPace = CycleGANPace()

    def on_a_gpu(self) -> dict[str, bool]:
        """Compiled, it does not wait for the launch of its many small kernels; not tried with a projected one."""
        return {"compile": self.network.discriminator != "projected"}

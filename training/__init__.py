"""Training: data, losses, games, runs, the command line.

    python -m training dcgan --data PHOTOS --out runs/first

or, from Python, `training.train(training.DCGANRun(...))`.
"""

from training.games.alae_options import ALAERun
from training.games.cut_options import CUTRun
from training.games.cyclegan_options import CycleGANRun
from training.games.dcgan_options import DCGANRun
from training.games.distil_options import DistilRun
from training.run.alarms import Diverged
from training.run.loop import train
from training.run.trainer import Outcome

__all__ = ["ALAERun", "CUTRun", "CycleGANRun", "DCGANRun", "DistilRun", "Diverged", "Outcome", "train"]

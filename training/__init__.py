"""Training: data, losses, DCGAN and CycleGAN runs, the command line.

    python -m training dcgan --data PHOTOS --out runs/first

or, from Python, `training.train(training.DCGANRun(...))`.
"""

from training.alarms import Diverged
from training.config import CycleGANRun, DCGANRun
from training.loop import Outcome, train

__all__ = ["CycleGANRun", "DCGANRun", "Diverged", "Outcome", "train"]

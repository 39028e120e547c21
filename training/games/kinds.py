"""What a run is: two frozen dataclasses, from which the flags, the JSON file and the snapshot's identity are made.

Every default is either the paper's or stated with its reason. Lengths are in kimg: thousands of real images that
the discriminator has seen (for CycleGAN: thousands of pairs), so that they mean the same at every batch size.
"""

from training.games.cyclegan_options import CycleGANRun
from training.games.dcgan_options import DCGANRun

Run = DCGANRun | CycleGANRun
RUNS: dict[str, type[DCGANRun] | type[CycleGANRun]] = {"dcgan": DCGANRun, "cyclegan": CycleGANRun}


def kind_of(run: Run) -> str:
    """ "dcgan" or "cyclegan": the subcommand and the file format's word for this kind of run."""
    return next(kind for kind, type_ in RUNS.items() if isinstance(run, type_))

"""From a configuration to the data and the players, with what the run says about itself before the first batch."""

import sys

import torch

from training.config import CycleGANRun, DCGANRun, Run
from training.cyclegan import CycleGANGame, Domains
from training.data import Dataset, load_domain, load_images
from training.dcgan import DCGANGame
from training.game import Game, Stage


def build(run: Run, stage: Stage) -> tuple[Game, str]:
    """Reads the data, then makes the players from the run's seed. Returns the game and the data's digest.

    Raises:
        InputError: the data cannot be used.
    """
    if isinstance(run, DCGANRun):
        images = _sampler_data(run, aloud=stage.rank == 0)
        torch.manual_seed(run.pace.seed)
        return DCGANGame(run, images, stage), images.digest
    domains = _translator_data(run, aloud=stage.rank == 0)
    torch.manual_seed(run.pace.seed)
    return CycleGANGame(run, domains, stage), domains.digest


def _sampler_data(run: DCGANRun, *, aloud: bool) -> Dataset:
    data = run.data
    return _told(
        load_images(
            data.data, data.image_size, data.channels, conditional=data.conditional, skip_broken=data.skip_broken
        ),
        aloud=aloud,
    )


def _translator_data(run: CycleGANRun, *, aloud: bool) -> Domains:
    """Training photos at the load size, to be cropped; test photos at the size they are looked at."""

    def load(domain: str, size: int) -> Dataset | None:
        found = load_domain(run.data.data, domain, size, skip_broken=run.data.skip_broken)
        return _told(found, aloud=aloud) if found else None

    train_a, train_b = load("trainA", run.load_size), load("trainB", run.load_size)
    assert train_a is not None  # load_domain refuses a missing training domain
    assert train_b is not None
    size = run.data.image_size
    # without test photos, training photos are looked at instead
    test_a = load("testA", size) or load("trainA", size) or train_a
    test_b = load("testB", size) or load("trainB", size) or train_b
    return Domains(train_a, train_b, test_a, test_b)


def _told(data: Dataset, *, aloud: bool) -> Dataset:
    for reason in data.skipped if aloud else ():
        print(f"skipped: {reason}", file=sys.stderr)
    return data

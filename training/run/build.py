"""From a configuration to the data and the players, with what the run says about itself before the first batch."""

import sys

import torch

from metrics import World
from models import InputError, faster_in_bfloat16
from training.data.images import Dataset, load_domain, load_images
from training.engine.stage import Stage
from training.games.cyclegan import CycleGANGame, Domains
from training.games.cyclegan_options import CycleGANRun
from training.games.dcgan import DCGANGame
from training.games.dcgan_options import DCGANRun
from training.games.game import Game
from training.games.kinds import Run
from training.options.shared import Machine, Pace


def stage(machine: Machine, pace: Pace, rank: int = 0, world: int = 1) -> Stage:
    """Settles what the configuration leaves to the machine.

    Raises:
        InputError: a device that is not there, a batch that does not divide, compile or graphs without a GPU.
    """
    wanted = machine.device
    if wanted == "auto":
        wanted = f"cuda:{rank % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {wanted} cannot be used here: {error}", where="device") from error
    for name in ("compile", "graphs"):
        if getattr(machine, name) and device.type != "cuda":
            raise InputError(f"--{name} is for GPUs; this run is on {device.type}.", where=name)
    if machine.graphs and world > 1:
        raise InputError(f"--graphs is for one process; this run has {world}.", where="graphs")
    if pace.batch % world:
        raise InputError(f"--batch {pace.batch} does not divide among {world} processes.", where="batch")
    bf16 = machine.precision == "bf16"
    if machine.precision == "auto":
        bf16 = World(rank, world).all(faster_in_bfloat16(device))
    return Stage(device, bf16, machine.channels_last, machine.compile, rank, world, machine.graphs)


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

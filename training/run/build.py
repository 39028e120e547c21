"""From a configuration to the data and the players, with what the run says about itself before the first batch."""

import re

import torch

from metrics import World
from models import InputError, faster_in_bfloat16
from training.engine.stage import Stage
from training.games.table import Game, games
from training.options.run import Run
from training.options.shared import Machine, Pace
from training.run.start import begin


def device_named(wanted: str, rank: int = 0) -> torch.device:
    """A device that can be used; auto is the GPU of this process, where there is one.

    Raises:
        InputError: it is no device, or is not there.
    """
    if wanted == "auto":
        wanted = f"cuda:{rank % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", wanted):
        raise InputError(f"--device must be auto, cpu, cuda or cuda:N; got {wanted!r}.", where="device")
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {wanted} cannot be used here: {error}", where="device") from error
    return device


def stage(machine: Machine, pace: Pace, rank: int = 0, world: int = 1) -> Stage:
    """Settles what the configuration leaves to the machine.

    Raises:
        InputError: a device that is not there, a batch that does not divide, compile or graphs without a GPU.
    """
    device = device_named(machine.device, rank)
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
        InputError: the data cannot be used, or what the run is to start with does not fit.
        NotFoundError, CheckpointError: there is nothing to start with.
    """
    kind = games()[run.kind]
    data = kind.read(run, aloud=stage.rank == 0)
    torch.manual_seed(run.pace.seed)
    game = kind(run, data, stage)
    if run.network.start:
        begin(game, run.network.start)
    return game, data.digest

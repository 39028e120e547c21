"""What engine/test_distributed.py runs under torchrun, in two processes: the runs named on the command line, in turn.

Usage: torchrun ... two_processes.py JOBS.json with [{"config", "resume", "stop_after"}, ...]
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch.distributed as dist

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

from conftest import SmallExtractor  # noqa: E402

from metrics import joined  # noqa: E402
from training import train  # noqa: E402
from training.games.table import games  # noqa: E402
from training.options.flags import from_dict  # noqa: E402
from training.run.meter import Meter  # noqa: E402

original = Meter.add


def stopping_after(limit: int) -> None:
    """Arranges that the second process alone is told to stop after so many steps; both must."""
    steps = 0

    def add(self: Meter, *arguments: Any) -> None:
        nonlocal steps
        original(self, *arguments)
        steps += 1
        if steps == limit and dist.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    Meter.add = add  # type: ignore[method-assign,assignment]


with joined():
    for job in json.loads(Path(sys.argv[1]).read_text()):
        stopping_after(job["stop_after"])
        run = from_dict(games()[job["config"]["kind"]].Run, job["config"])
        train(run, resume=job["resume"], extractor=SmallExtractor())

"""What run/test_loop_lost.py runs under torchrun: `python -m training`, whose second process is killed once.

Usage: torchrun ... lost_process.py STEPS ARGUMENTS...; after STEPS steps of the first attempt it dies as by `kill -9`.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from training.cli import main
from training.run.meter import Meter

original = Meter.add
steps = 0


def add(self: Meter, *arguments: Any) -> None:
    global steps
    original(self, *arguments)
    steps += 1
    if steps == int(sys.argv[1]) and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.kill(os.getpid(), signal.SIGKILL)


Meter.add = add  # type: ignore[method-assign,assignment]
sys.exit(main(sys.argv[2:]))

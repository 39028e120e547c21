"""What run/test_loop_lost.py runs under torchrun: two runs in turn, and the second one's second process is killed once.

Usage: torchrun ... lost_process.py STEPS STRAIGHT.json KILLED.json, each as by `python -m training cyclegan --config
KILLED.json --continue`; after STEPS steps of the first attempt it dies as by `kill -9`.
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
most, straight, killed = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def lose_a_process() -> None:
    """Arranges that the second process ends after so many steps."""
    steps = 0

    def add(self: Meter, *arguments: Any) -> None:
        nonlocal steps
        original(self, *arguments)
        steps += 1
        if steps == most:
            os.kill(os.getpid(), signal.SIGKILL)

    Meter.add = add  # type: ignore[method-assign,assignment]


for config in (straight, killed):
    if config == killed and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        lose_a_process()
    if status := main(["cyclegan", "--config", config, "--continue"]):
        sys.exit(status)

"""What a run tells people: JSON lines, one printed line a tick, TensorBoard."""

import math
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from metrics import World
from models.images import Pixels
from training.engine.console import say
from training.run.state import Progress


def entry(
    progress: Progress,
    line: dict[str, float],
    variety: float | None,
    scores: dict[str, dict[str, Any]],
    alarms: list[str],
) -> dict[str, Any]:
    """One line of log.jsonl: position, means over the tick, then what was measured at it."""
    values: dict[str, Any] = {
        "step": progress.step,
        "images": progress.images,
        "seconds": round(progress.seconds, 2),
        **{name: float(f"{value:.6g}") for name, value in line.items()},
    }
    if variety is not None:
        values["variety"] = round(variety, 4)
    # what is not a number has no place in JSON
    values |= {name: result["value"] for name, result in scores.items() if math.isfinite(result["value"])}
    if alarms:
        values["alarms"] = alarms
    return values


def bar(total: int, images: int, world: World) -> "tqdm[Any]":
    """A progress bar with images/s and time left, on a terminal; elsewhere the printed lines say the same."""
    quiet = None if world.first else True  # None: tqdm looks for a terminal itself
    return tqdm(total=total, initial=images, unit="img", unit_scale=True, smoothing=0.05, disable=quiet)


def show(values: dict[str, Any], total: int) -> None:
    """One line for a person, on standard output, past the bar."""
    left = (total - values["images"]) / max(values["images_per_s"], 1e-9)
    parts = [
        f"{values['images'] / 1000:.1f} of {total / 1000:g} kimg",
        f"D {values['loss_d']:.3f}  G {values['loss_g']:.3f}",
        f"{values['images_per_s']:.1f} images/s",
        f"{_duration(left)} left",
    ]
    parts += [f"{name} {value:.2f}" for name, value in values.items() if name.startswith(("fid", "kid", "variety"))]
    say("  ".join(parts), sys.stdout)
    for alarm in values.get("alarms", []):
        say(f"ALARM: {alarm}")


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{seconds:02}s"


class Board:
    """TensorBoard's files, below the run's folder. Events after `images`, which a run goes on from, are hidden.

    Raises OSError at a full disk, at the latest with the line after the one that did not fit.
    """

    def __init__(self, folder: Path, images: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to load; only where it is wanted

        self.writer = SummaryWriter(str(folder), purge_step=images)

    def scalars(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if isinstance(value, float) and name != "seconds":
                self.writer.add_scalar(name, value, values["images"])
        self.writer.flush()

    def picture(self, sheet: Pixels, images: int) -> None:
        self.writer.add_image("samples", sheet, images, dataformats="HWC")

    def close(self) -> None:
        self.writer.close()

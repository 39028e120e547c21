"""What a run tells people: JSON lines, one printed line a tick, TensorBoard."""

import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from metrics import World
from models.images import Pixels
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
    values |= {name: result["value"] for name, result in scores.items()}
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
    tqdm.write("  ".join(parts), file=sys.stdout)
    sys.stdout.flush()
    for alarm in values.get("alarms", []):
        tqdm.write(f"ALARM: {alarm}", file=sys.stderr)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{seconds:02}s"


class Board:
    """TensorBoard's files, below the run's folder.

    Written here and now, not by a thread as torch's `SummaryWriter` does: a full disk is then an OSError of the run.
    """

    def __init__(self, folder: Path, images: int) -> None:
        # slow to load; only where it is wanted
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
        from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]
        from torch.utils.tensorboard import summary

        self.event, self.summary, self.records = Event, summary, RecordWriter
        folder.mkdir(exist_ok=True)
        self.path = folder / f"events.out.tfevents.{time.time():.6f}"
        self._write(images, file_version="brain.Event:2")
        # events after the snapshot that a run goes on from are hidden
        self._write(images, session_log=SessionLog(status=SessionLog.START))

    def scalars(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if isinstance(value, float) and name != "seconds":
                self._write(values["images"], summary=self.summary.scalar(name, value))

    def picture(self, sheet: Pixels, images: int) -> None:
        self._write(images, summary=self.summary.image("samples", sheet, dataformats="HWC"))

    def _write(self, images: int, **content: Any) -> None:
        event = self.event(wall_time=time.time(), step=images, **content)
        with self.path.open("ab") as file:
            self.records(file).write(event.SerializeToString())

"""The run: one loop that reads from top to bottom. How a step is made, the game knows; what is due when, this file."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import torch

from metrics import Extractor, World, joined
from models import GanError
from training.engine.stage import Moment
from training.games.game import Game
from training.games.kinds import Run, kind_of
from training.options.flags import to_dict
from training.run import alarms, folder, log, pictures, state
from training.run import checkpoint as inference
from training.run import scores as evaluate
from training.run.build import build, stage
from training.run.folder import RunFolder
from training.run.meter import Due, Meter


class Stop:
    """Whether a signal has asked the run to stop. A second signal means now, and interrupts."""

    asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Within, SIGINT and SIGTERM set the given `Stop`. To be used in the main thread."""
    stop = Stop()
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True)
class Outcome:
    """How a run ended: where its checkpoint is, on how many images, and whether it came to its end.

    first: whether this process is the one that speaks for all.
    """

    checkpoint: str
    images: int
    finished: bool
    first: bool = True


def train(run: Run, *, resume: bool = False, extractor: Extractor | None = None) -> Outcome:
    """Trains from the first image, or from the snapshot in the run's folder, to the last.

    Args:
        run: the configuration, a `DCGANRun` or a `CycleGANRun`.
        resume: go on with the run in `run.output.out`.
        extractor: for scores during training; by default the Inception, as `metrics.score`.

    Raises:
        InputError: configuration, data or folder cannot be used; nothing was trained.
        ConflictError: the folder is taken, or its snapshot is of another configuration.
        Diverged: a loss or a weight is NaN or infinite.
        GanError: the disk is full or read-only. These two name the last good snapshot.
    """
    if run.machine.threads:
        torch.set_num_threads(run.machine.threads)
    with joined() as world, folder.opened(run.output.out, run.output.name, resume=resume, world=world) as out:
        here = stage(run.machine, run.pace, world.rank, world.size)
        game, digest = build(run, here)
        about = state.About(kind_of(run), to_dict(run), digest)
        progress = state.Progress()
        if resume:
            progress = state.restore(state.read(out.state), about, game.players, world)
        try:
            scorer = evaluate.Scorer(run.watch, game.evaluations(), out.root, digest, world, extractor)
            with stop_signals() as stop:
                return _train(run, game, out, progress, about, scorer, world, stop)
        except OSError as error:
            raise GanError(f"The run cannot write to {out.root}: {error}. {_last_good(out)}") from error


def _train(
    run: Run,
    game: Game,
    out: RunFolder,
    progress: state.Progress,
    about: state.About,
    scorer: evaluate.Scorer,
    world: World,
    stop: Stop,
) -> Outcome:
    total = round(run.pace.kimg * 1000)
    if world.first:
        out.begin(about.config, progress.images)
    board = log.Board(out.tensorboard, progress.images) if run.watch.tensorboard and world.first else None
    bar = log.bar(total, progress.images, world)
    due = Due(run, game.images_per_step)
    meter = Meter()

    while progress.images < total:
        if run.machine.compile:
            torch.compiler.cudagraph_mark_step_begin()  # what the last step's graphs gave may be overwritten
        scalars = game.step(Moment(progress.step, progress.images, total))
        progress.step += 1
        progress.images += game.images_per_step
        meter.add(scalars, game.images_per_step, game.data_seconds)
        bar.update(game.images_per_step)

        last = progress.images >= total
        stopping = world.any(stop.asked) and not last
        sampling = last or due("sample", progress.images)
        scoring = not stopping and run.watch.fid_kimg > 0 and (last or due("fid", progress.images))
        saving = last or stopping or due("snapshot", progress.images)
        if not (sampling or scoring or saving or due("tick", progress.images)):
            continue

        # --- a tick: what the steps came to, and whether the run is well ---
        line = meter.read(world)
        progress.seconds += line.pop("tick_seconds")
        try:
            alarms.check_finite(line | alarms.weight_sums(game.players.networks), _last_good(out))
        except alarms.Diverged as error:
            if world.first:
                out.append_log({"step": progress.step, "images": progress.images, "alarms": [str(error)]})
            raise
        progress.reference_gradient = max(progress.reference_gradient, line["g_gradient_norm"])
        if sampling or scoring or saving:
            game.refresh()
        scores = scorer() if scoring else {}
        better = bool(scores) and evaluate.keep_best(scores, progress)
        if world.first:
            variety = game.variety() if sampling else None
            done = progress.images / total
            warnings = alarms.raised(line["g_gradient_norm"], progress.reference_gradient, variety, done)
            entry = log.entry(progress, line, variety, scores, warnings)
            out.append_log(entry)
            log.show(entry, total)
            if board:
                board.scalars(entry)
            if sampling:
                sheet = game.picture()
                out.write_sheet(sheet, progress.images)
                if board:
                    board.picture(sheet, progress.images)

        # --- snapshots: the best, and the last, which goes after all that it speaks of: a kill between two files
        # then goes back to a snapshot from which the others are made again
        for due_now, snapshot, checkpoint in (
            (better, out.best, out.checkpoint("best")),
            (saving, out.state, out.checkpoint()),
        ):
            if due_now:
                if world.first:
                    inference.write(checkpoint, run, game, progress, scores)
                state.save(snapshot, about, game.players, progress, world)
        meter.restart()
        if stopping:
            break

    bar.close()
    finished = progress.images >= total
    if world.first and finished:
        pictures.curves(out)
        pictures.film(out, run.watch.animation)
    elif world.first:
        start = "python" if world.size == 1 else f"torchrun (again {world.size} processes)"
        print(
            f"Stopped after {progress.images} images, with a snapshot. "
            f"Go on with: {start} -m training {about.kind} --resume {out.root}",
            file=sys.stderr,
        )
    world.wait()
    return Outcome(str(out.checkpoint()), progress.images, finished, world.first)


def _last_good(out: RunFolder) -> str:
    if not out.state.exists():
        return "There is no snapshot yet."
    return f"The last good snapshot is {out.state}."

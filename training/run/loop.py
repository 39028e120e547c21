"""The run: one loop that reads from top to bottom. A game makes the steps (`games/`), `trainer.py` does what is due."""

from contextlib import ExitStack
from typing import Any

import torch

from metrics import Extractor, ProcessLost, World, joined
from models import GanError
from training.engine.console import say
from training.engine.packages import require_packages
from training.options.flags import read_json
from training.options.run import Run
from training.run import folder, state
from training.run.build import build, stage
from training.run.folder import RunFolder
from training.run.scores import Scorer
from training.run.signals import stop_signals
from training.run.trainer import Outcome, Trainer


def train(run: Run, *, resume: bool | None = False, extractor: Extractor | None = None) -> Outcome:
    """Trains from the first image, or from the snapshot in the run's folder, to the last.

    Args:
        run: the configuration, such as a `DCGANRun` or a `CycleGANRun`.
        resume: go on with the run in `run.output.out`; None: go on where it holds a snapshot, else begin.
        extractor: for scores during training; by default the Inception, as `metrics.score`.

    Raises:
        InputError: configuration, data or folder cannot be used; nothing was trained.
        ConflictError: the folder is taken, or its snapshot is of another configuration.
        Diverged: a loss or a weight is NaN or infinite.
        GanError: memory ran out; the disk is full or read-only; another process was lost. These name the last good
            snapshot.
    """
    check_packages(run)
    here = folder.at(run.output.out, run.output.name)
    if not resume:
        folder.check_apart(here, run.data.data)
    if run.machine.threads:
        torch.set_num_threads(run.machine.threads)
    try:
        # from its first step on, a run that is told to end says why it does, also where another process was lost
        with ExitStack() as listening, joined() as world:
            return _train(run, resume, world, extractor, listening)
    except ProcessLost as error:
        raise GanError(f"{error} {here.last_good()}") from error


def _train(run: Run, resume: bool | None, world: World, extractor: Extractor | None, listening: ExitStack) -> Outcome:
    with folder.opened(run.output.out, run.output.name, resume=resume, world=world) as out:
        goes_on = world.share(out.state.exists())[0]  # the folder is as it should be, so a snapshot is this run's
        if not goes_on and out.lines():
            state.check_same(read_json(out.config, "--continue"), run)
        trainer = None
        try:
            here = stage(run.machine, run.pace, world.rank, world.size)
            game, digest = build(run, here)
            about = state.About(run, digest)
            progress = state.Progress()
            if goes_on:
                snapshot = state.read(out.state)
                progress = state.restore(snapshot, about, game.players, world)
                _say_how_it_goes_on(snapshot, progress, run, world)
            scorer = Scorer(run.watch, game.family.evaluations(), out.root, digest, world, extractor)
            if world.first and (advice := run.advice()):
                say(advice)
            stop = listening.enter_context(stop_signals())
            with Trainer(about, game, out, progress, scorer, world) as trainer:
                while not trainer.finished and not trainer.stopping:
                    trainer.advance()
                    due = trainer.due(stop)
                    if due:
                        trainer.tick(due)
                        trainer.save(due)
            return trainer.end()
        except OSError as error:
            raise GanError(f"The run cannot write to {out.root}: {error}. {out.last_good()}") from error
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise GanError(_too_much(out, saved=trainer is not None and trainer.rescue())) from error


def _say_how_it_goes_on(snapshot: dict[str, Any], progress: state.Progress, run: Run, world: World) -> None:
    """What a person would not expect of a run that goes on."""
    if world.first and snapshot["world"] != world.size:
        say(
            f"The snapshot is of {snapshot['world']} processes, and the run goes on with {world.size}: what follows is "
            "as good, and not bit by bit what they would have computed."
        )
    if world.first and progress.images >= run.pace.images:
        say(f"The run has come to its end already, at {progress.images} images.")


def check_packages(run: Run) -> None:
    """Raises GanError where something that the run will need at its end is not installed."""
    require_packages("matplotlib", *(["tensorboard"] if run.watch.tensorboard else []))


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out; torch's on a CPU is a RuntimeError like any other."""
    words = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in words)


def _too_much(out: RunFolder, *, saved: bool) -> str:
    kept = f"A snapshot was written to {out.state}." if saved else out.last_good()
    return (
        "The run needs more memory than there is: lower --batch, --width or --discriminator-width, or --image-size "
        f"(--dry-run estimates what they take). {kept}"
    )

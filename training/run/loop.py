"""The run: one loop that reads from top to bottom. A game makes the steps (`games/`), `trainer.py` does what is due."""

import torch

from metrics import Extractor, joined
from models import GanError
from training.engine.console import say
from training.engine.packages import require_packages
from training.options.run import Run
from training.run import folder, state
from training.run.build import build, stage
from training.run.folder import RunFolder
from training.run.scores import Scorer
from training.run.signals import stop_signals
from training.run.trainer import Outcome, Trainer


def train(run: Run, *, resume: bool = False, extractor: Extractor | None = None) -> Outcome:
    """Trains from the first image, or from the snapshot in the run's folder, to the last.

    Args:
        run: the configuration, such as a `DCGANRun` or a `CycleGANRun`.
        resume: go on with the run in `run.output.out`.
        extractor: for scores during training; by default the Inception, as `metrics.score`.

    Raises:
        InputError: configuration, data or folder cannot be used; nothing was trained.
        ConflictError: the folder is taken, or its snapshot is of another configuration.
        Diverged: a loss or a weight is NaN or infinite.
        GanError: memory ran out; the disk is full or read-only. These name the last good snapshot.
    """
    check_packages(run)
    if not resume:
        folder.check_apart(folder.at(run.output.out, run.output.name), run.data.data)
    if run.machine.threads:
        torch.set_num_threads(run.machine.threads)
    with joined() as world, folder.opened(run.output.out, run.output.name, resume=resume, world=world) as out:
        trainer = None
        try:
            here = stage(run.machine, run.pace, world.rank, world.size)
            game, digest = build(run, here)
            about = state.About(run, digest)
            progress = state.restore(state.read(out.state), about, game.players, world) if resume else state.Progress()
            scorer = Scorer(run.watch, game.family.evaluations(), out.root, digest, world, extractor)
            if world.first and (advice := run.advice()):
                say(advice)
            with stop_signals() as stop, Trainer(about, game, out, progress, scorer, world) as trainer:
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

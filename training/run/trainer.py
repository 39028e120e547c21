"""One run under way: its steps, and what is due after some of them: a tick, samples, scores, a snapshot."""

import contextlib
from dataclasses import dataclass
from typing import Self

import torch

from metrics import World
from training.engine.console import say
from training.engine.stage import Moment
from training.games.game import Game
from training.options.flags import to_dict
from training.run import alarms, log, pictures, state
from training.run import checkpoint as inference
from training.run.folder import RunFolder
from training.run.meter import Meter
from training.run.scores import Scorer, Scores, keep_best
from training.run.signals import Stop


@dataclass(frozen=True)
class Outcome:
    """How a run ended: where its checkpoint is, on how many images, and whether it came to its end.

    first: whether this process is the one that speaks for all.
    """

    checkpoint: str
    images: int
    finished: bool
    first: bool = True


class Trainer:
    """A run between its first step, or its last snapshot, and its end. The first process writes and speaks for all."""

    def __init__(
        self,
        about: state.About,
        game: Game,
        out: RunFolder,
        progress: state.Progress,
        scorer: Scorer,
        world: World,
    ) -> None:
        self.about, self.run, self.game, self.out = about, about.run, game, out
        self.progress, self.scorer, self.world = progress, scorer, world
        self.total = self.run.pace.images
        pace, watch = self.run.pace, self.run.watch
        self.rhythm = {  # in kimg; 0: never
            "tick": pace.tick_kimg,
            "sample": pace.sample_kimg,
            "score": watch.fid_kimg,
            "snapshot": pace.snapshot_kimg,
        }
        if world.first:
            out.begin(to_dict(self.run), progress.images)
        self.board = log.Board(out.tensorboard, progress.images) if watch.tensorboard and world.first else None
        self.bar = log.bar(self.total, progress.images, world)
        self.meter = Meter()
        self.stopping = False
        self.between_steps = True
        self.scores: Scores = {}  # of the weights as they are

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()
        if self.board:
            self.board.close()

    @property
    def finished(self) -> bool:
        """Whether the last image has been seen."""
        return self.progress.images >= self.total

    def advance(self) -> None:
        """Takes one step."""
        game, progress = self.game, self.progress
        if self.run.machine.compile:
            torch.compiler.cudagraph_mark_step_begin()  # what the last step's graphs gave may be overwritten
        self.between_steps = False
        step = game.step(Moment(progress.step, progress.images, self.total))
        progress.step += 1
        progress.images += game.images_per_step
        self.between_steps = True
        self.meter.add(step.scalars(), game.images_per_step)
        with contextlib.suppress(OSError):  # a terminal that is gone is no reason to end
            self.bar.update(game.images_per_step)

    def due(self, stop: Stop) -> frozenset[str]:
        """What is due after this step: any of "tick", "sample", "score" and "snapshot"; nothing after most.

        Something that happens every so many kimg is due where the run has just passed a multiple of it.
        """
        self.stopping = self.world.any(stop.asked) and not self.finished
        images, before = self.progress.images, self.progress.images - self.game.images_per_step
        lengths = {what: kimg * 1000 for what, kimg in self.rhythm.items() if kimg}
        due = {what for what, every in lengths.items() if self.finished or images // every > before // every}
        if self.stopping:
            due = due - {"score"} | {"snapshot"}
        return frozenset(due)

    def tick(self, due: frozenset[str]) -> None:
        """Looks at what the steps came to and whether the run is well; measures, logs and shows what is due.

        Raises:
            Diverged: a loss or a weight is NaN or infinite.
        """
        progress, family = self.progress, self.game.family
        line = self.meter.read(self.world, self.game.data_seconds)
        progress.seconds += line.pop("tick_seconds")
        self._check_finite(line)
        progress.reference_gradient = max(progress.reference_gradient, line["g_gradient_norm"])
        if due - {"tick"}:
            family.refresh()
        self.scores = self.scorer() | dict(family.own_scores()) if "score" in due else {}
        if not self.world.first:
            return
        variety = family.variety() if "sample" in due else None
        done = progress.images / self.total
        warnings = alarms.raised(line["g_gradient_norm"], progress.reference_gradient, variety, done)
        entry = log.entry(progress, line, variety, self.scores, warnings)
        self.out.append_log(entry)
        log.show(entry, self.total)
        if self.board:
            self.board.scalars(entry)
        if "sample" in due:
            sheet = family.picture()
            self.out.write_sheet(sheet, progress.images)
            if self.board:
                self.board.picture(sheet, progress.images)

    def _check_finite(self, line: dict[str, float]) -> None:
        try:
            alarms.check_finite(line | alarms.weight_sums(self.game.players.networks), self.out.last_good())
        except alarms.Diverged as error:
            if self.world.first:
                at = {"step": self.progress.step, "images": self.progress.images}
                self.out.append_log(at | {"alarms": [str(error)]})
            raise

    def save(self, due: frozenset[str]) -> None:
        """Writes the snapshots that are due, the best and the last, and their checkpoints."""
        if self.scores and keep_best(self.scores, self.progress):
            self._write("best")
        if "snapshot" in due:
            self._write()
        self.meter.restart()

    def _write(self, kind: str = "") -> None:
        """A snapshot goes after all that it speaks of: a kill between two files then goes back to a snapshot from which
        the others are made again."""
        if self.world.first:
            inference.write(self.out.checkpoint(kind), self.run, self.game, self.progress, self.scores)
        state.save(self.out.best if kind else self.out.state, self.about, self.game.players, self.progress, self.world)

    def rescue(self) -> bool:
        """After memory ran out: writes a snapshot, unless that was in the middle of a step, whose first half cannot be
        taken back, or others would have to take part. Returns whether it did."""
        if not self.between_steps or self.world.size > 1 or not self.progress.step:
            return False
        self.scores = {}
        try:
            self._write()
        except (MemoryError, RuntimeError):  # not even for that; the one that was there is still whole
            return False
        return True

    def end(self) -> Outcome:
        """Leaves curves and film, or says how to go on."""
        out, run = self.out, self.run
        if self.world.first and self.finished:
            pictures.curves(out)
            pictures.film(out, run.watch.animation)
        elif self.world.first:
            start = "python" if self.world.size == 1 else f"torchrun (again {self.world.size} processes)"
            say(
                f"Stopped after {self.progress.images} images, with a snapshot. "
                f"Go on with: {start} -m training --resume {out.root}"
            )
        self.world.wait()
        return Outcome(str(out.checkpoint()), self.progress.images, self.finished, self.world.first)

"""The command line: python -m training dcgan|cyclegan|ring|export|pretrained. `--help` of each says all."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from models import GanError, InputError
from training.games.kinds import RUNS, Run
from training.options.flags import add_flags, from_dict, given, merged, read_json
from training.ring import command as laboratory
from training.shipping import export, pretrained

ABOUT = {
    "dcgan": "Train a sampler: DCGAN, or the fully connected GAN, on a folder of images.",
    "cyclegan": "Train a translator: CycleGAN, on two folders of photos.",
    "ring": "The loss laboratory: every loss on a ring of eight 2-D Gaussians, in one picture.",
    "export": "Write a checkpoint's networks as ONNX, checked against torch.",
    "pretrained": "Train the shipped models again, from data to checkpoint to card.",
}
TOOLS = {"ring": laboratory, "export": export, "pretrained": pretrained}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns 0, or 2 with one clear sentence on standard error."""
    typed = parser().parse_args(arguments)
    try:
        if typed.command in TOOLS:
            return TOOLS[typed.command].run(typed)
        run, resume = configuration(typed)
        if typed.dry_run:
            from training.run.dry_run import preview

            print(preview(run, resume=resume))
            return 0
        from training.run.loop import train

        outcome = train(run, resume=resume)
        if outcome.first:
            print(f"{outcome.checkpoint}: {outcome.images} images")
        return 0 if outcome.finished else 130
    except (GanError, OSError) as error:  # the latter names its file: no access, no space
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # a second Ctrl-C: at once, without a snapshot
        print("interrupted; the last snapshot is as it was", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; flags come from the configuration's dataclasses, and are never abbreviated."""
    top = argparse.ArgumentParser(prog="python -m training", allow_abbrev=False)
    commands = top.add_subparsers(dest="command", required=True, metavar="|".join(ABOUT))
    for kind, about in ABOUT.items():
        command = commands.add_parser(kind, help=about, description=about, allow_abbrev=False)
        if kind in TOOLS:
            TOOLS[kind].add_arguments(command)
            continue
        command.add_argument("--config", metavar="RUN.json", help="read a configuration; flags go over it")
        command.add_argument(
            "--resume", metavar="FOLDER", help="go on with the run in this folder, as it was configured"
        )
        command.add_argument("--dry-run", action="store_true", help="check everything, print it with sizes, and stop")
        add_flags(command, RUNS[kind])
    return top


def configuration(typed: argparse.Namespace) -> tuple[Run, bool]:
    """The run that was asked for, and whether it goes on from a snapshot.

    Raises:
        InputError: a file that cannot be read, an unknown key, a value out of range.
    """
    kind = RUNS[typed.command]
    flags = given(typed, kind)
    if typed.resume and typed.config:
        raise InputError("--resume brings its own configuration: leave --config out.", where="config")
    if typed.resume and "output" in flags and "out" in flags["output"]:
        raise InputError("--resume goes on in its own folder: leave --out out.", where="out")
    if typed.resume:
        base = read_json(Path(typed.resume) / "config.json", "--resume")
        flags = merged(flags, {"output": {"out": typed.resume}})
    else:
        base = read_json(Path(typed.config), "--config") if typed.config else {}
    origin = typed.resume or typed.config or "flags"
    return from_dict(kind, merged(base, flags), origin=origin), bool(typed.resume)

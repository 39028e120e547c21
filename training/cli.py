"""The command line: python -m training GAME, or a tool such as `ring` or `pretrained`. `--help` of each says all."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models import GanError, InputError, commandline, console
from training.classifier import command as classifier
from training.engine.console import say
from training.games.table import games
from training.options.flags import add_flags, from_dict, given, merged, read_json
from training.options.run import Run
from training.ring import command as laboratory
from training.shipping import cas, export, outlines, paired, pretrained, probe

TOOLS = {
    "ring": laboratory,
    "export": export,
    "outlines": outlines,
    "probe": probe,
    "paired": paired,
    "classifier": classifier,
    "cas": cas,
    "pretrained": pretrained,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns 0, or 2 with one clear sentence on standard error."""
    console.ready()
    try:
        typed = parser().parse_args(_with_kind(list(sys.argv[1:] if arguments is None else arguments)))
        if typed.command in TOOLS:
            return TOOLS[typed.command].run(typed)
        run, resume = configuration(typed)
        if typed.dry_run:
            from training.run.dry_run import preview

            found = preview(run, resume=resume)
            console.answer(found.config)
            for line in found.about:
                say(line)
            return 0
        from training.run.loop import train

        outcome = train(run, resume=resume)
        if outcome.first:
            say(f"{outcome.checkpoint}: {outcome.images} images", sys.stdout)
        return 0 if outcome.finished else 130
    except (GanError, OSError) as error:  # the latter names its file: no access, no space
        say(f"error: {console.sentence(error)}")
        return 2
    except KeyboardInterrupt:  # a second Ctrl-C: at once, without a snapshot
        say("interrupted; the last snapshot is as it was")
        return 130


def parser() -> commandline.Parser:
    """The parser of all commands; flags come from the options of the games, and are never abbreviated."""
    top = commandline.Parser(
        prog="python -m training",
        description="A run goes on with --resume FOLDER, or is given by --config RUN.json; either names its game. "
        "With --continue one command begins a run and goes on with it.",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="|".join([*games(), *TOOLS]))
    for kind, game in games().items():
        command = commands.add_parser(kind, help=game.about, description=game.about)
        _add_sources(command)
        command.add_argument("--dry-run", action="store_true", help="check everything, print it with sizes, and stop")
        add_flags(command, game.Run)
    for name, tool in TOOLS.items():
        command = commands.add_parser(name, help=tool.ABOUT, description=tool.ABOUT)
        tool.add_arguments(command)
    return top


def configuration(typed: argparse.Namespace) -> tuple[Run, bool | None]:
    """The run that was asked for, and whether it goes on from a snapshot; None: where there is one.

    Raises:
        InputError: a file that cannot be read, an unknown key, a value out of range.
    """
    kind = games()[typed.command].Run
    flags = given(typed, kind)
    if typed.resume and typed.go_on:
        raise InputError("--resume goes on already: leave --continue out.", where="continue")
    if typed.resume and typed.config:
        raise InputError("--resume brings its own configuration: leave --config out.", where="config")
    if typed.resume and "output" in flags and "out" in flags["output"]:
        raise InputError("--resume goes on in its own folder: leave --out out.", where="out")
    origin, base = _source(typed)
    if base.get("kind", typed.command) != typed.command:
        raise InputError(f"{origin} holds a run of {base['kind']}, not of {typed.command}.", where="kind")
    if typed.resume:
        flags = merged(flags, {"output": {"out": typed.resume}})
    return from_dict(kind, merged(base, flags), origin=origin), None if typed.go_on else bool(typed.resume)


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="RUN.json", help="read a configuration; flags go over it")
    parser.add_argument("--resume", metavar="FOLDER", help="go on with the run in this folder, as it was configured")
    parser.add_argument(
        "--continue",
        dest="go_on",
        action="store_true",
        help="begin, or go on where --out holds this very run: for whatever starts a command again (torchrun, a Job)",
    )


def _source(typed: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The file that a run's configuration comes from, and what it holds; both empty where flags say all."""
    if typed.resume:
        path = Path(typed.resume) / "config.json"
        return str(path), read_json(path, "--resume")
    return (typed.config, read_json(Path(typed.config), "--config")) if typed.config else ("", {})


def _with_kind(arguments: list[str]) -> list[str]:
    """The arguments, with the game that a configuration names put first where none was typed.

    Raises:
        InputError: the file cannot be read, or names no game.
    """
    if not arguments or not arguments[0].startswith("--"):
        return arguments
    sources = commandline.Parser(add_help=False)
    _add_sources(sources)
    origin, base = _source(sources.parse_known_args(arguments)[0])
    if not origin:
        return arguments
    if base.get("kind") not in [*games()]:
        raise InputError(f"{origin} names no game: give it a `kind`, one of {', '.join(games())}.", where="kind")
    return [base["kind"], *arguments]

"""`python -m models info FILE`, `import FILE OUT`, `directions FILE`: look into, convert and complete checkpoints."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args, get_type_hints

from models import commandline, console, strict_json
from models.checkpoints.checkpoint import add_directions, load
from models.checkpoints.foreign import import_checkpoint
from models.checkpoints.told import Told
from models.errors import GanError, InputError
from models.faces import Generator


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, or 2 with the reason on stderr."""
    parser = commandline.Parser(prog="python -m models", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    info = commands.add_parser("info", help="print a checkpoint's metadata as JSON, once it is checked whole")
    info.add_argument("file", type=Path)
    convert = commands.add_parser("import", help="convert a checkpoint of another project")
    convert.add_argument("file", type=Path, help="*_net_G*.pth (CycleGAN, pix2pix, CUT), netG_epoch_*.pth, G_ema.pth")
    convert.add_argument("out", type=Path, help="the .safetensors to write")
    convert.add_argument("--reverse", type=Path, help="of a translator, the network from b to a")
    convert.add_argument("--domains", nargs=2, metavar=("A", "B"), default=("a", "b"), help="what a and b show")
    convert.add_argument(
        "--classes", type=Path, help="of a conditional sampler, a text file with a class's name on each line"
    )
    for field in dataclasses.fields(Told):
        choices = get_args(get_args(get_type_hints(Told)[field.name])[0])
        convert.add_argument(f"--{field.name}", choices=choices, help=f"what no file says (default: {choices[0]})")
    complete = commands.add_parser(
        "directions",
        help="compute a generator's latent directions and keep them in its file, whose digest changes",
    )
    complete.add_argument("file", type=Path)
    console.ready()
    typed = parser.parse_args(argv)
    try:
        if typed.command == "import":
            _import(typed)
        if typed.command == "directions":
            add_directions(typed.file)
        described = _describe(typed.out if typed.command == "import" else typed.file)
        console.answer(strict_json.dumps(described, indent=2))
    except (GanError, OSError) as error:
        print(f"error: {console.sentence(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what was to be written is as it was", file=sys.stderr)
        return 130
    return 0


def _import(typed: argparse.Namespace) -> None:
    told = Told(**{field.name: getattr(typed, field.name) for field in dataclasses.fields(Told)})
    domains = tuple(typed.domains)
    classes = typed.classes and _lines(typed.classes)
    metadata = import_checkpoint(
        typed.file, typed.out, reverse=typed.reverse, domains=domains, classes=classes, told=told
    )
    taken = {"output": told.output or "tanh"} | {
        name: value for name, value in metadata.architecture.items() if name in ("padding", "activation")
    }
    print(
        f"note: a file does not say what has no weights. Taken: {', '.join(map(' '.join, taken.items()))}. "
        "Where that is wrong, the pictures are: import again with the flag.",
        file=sys.stderr,
    )


def _lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty; raises InputError where it is no text."""
    try:
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is no text in UTF-8: {error.reason}.", where="classes") from error


def _describe(path: Path) -> dict[str, object]:
    model = load(path)
    parameters = sum(parameter.numel() for part in model.parts.values() for parameter in part.parameters())
    return {
        "file": path.name,
        "sha256": model.digest,
        "bytes": path.stat().st_size,
        "parameters": parameters,
        **({"directions": list(model.latent_directions)} if isinstance(model, Generator) else {}),
        **dataclasses.asdict(model.metadata),
    }


if __name__ == "__main__":
    sys.exit(main())

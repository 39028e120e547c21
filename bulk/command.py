"""Command line: a million images translated, drawn or measured, on this machine's cores or on a cluster of Ray.

    python -m bulk translate photos/horses photos/zebras --model horse2zebra --direction zebra
    python -m bulk sample 1000000 s3://sets/cifar --model cifar10-dcgan --seed 0
    python -m bulk features s3://sets/real real.npz

What is there already is skipped: whatever ends a run, the same command goes on with it. Exit status: 0; 2 with a
sentence on standard error; 3 where all is done but what `errors.jsonl` lists; 130 where it was interrupted.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bulk.features import features
from bulk.photos import MAX_PIXELS
from bulk.run import BROKEN, Plan, run
from bulk.sample import sample
from bulk.translate import translate
from metrics import PROTOCOLS
from models import GanError, NotFoundError, commandline, console

SHIPPED = Path(__file__).resolve().parents[1] / "models" / "pretrained"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    console.ready()
    options = _parser().parse_args(arguments)
    try:
        broken = run(options.plan(options), address=options.address, actors=options.actors)
    except (GanError, OSError) as error:
        _say(f"error: {console.sentence(error)}")
        return 2
    except KeyboardInterrupt:
        _say("Interrupted. What is done is kept: the same command goes on from there.")
        return 130
    if broken:
        _say(f"{broken:,} of the inputs were broken: see {BROKEN} where the results are.")
        return 3
    return 0


def _say(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:  # nobody reads it any more
        console.silence(sys.stderr)


def _parser() -> commandline.Parser:
    parser = commandline.Parser(
        prog="python -m bulk",
        description="Work on a million images, on this machine's cores or on a cluster of Ray. A place is a folder, or "
        "a bucket: s3://, gs://, az://, whose credentials are read from the environment. What is there already is "
        "skipped: the same command goes on with what a crash has left.",
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    model = "a .safetensors, or the name of a model that is shipped"
    images = "a folder, a .zip or .tar archive, or a bucket of images"

    translating = _command(commands, "translate", "translate every photo of a place into another, as PNG", _translate)
    translating.add_argument("source", type=commandline.place, metavar="IN", help=images)
    translating.add_argument("out", type=commandline.place, metavar="OUT", help="a folder or a bucket")
    translating.add_argument("--model", required=True, help=model)
    translating.add_argument("--direction", required=True, metavar="DOMAIN", help="what the photos become, as zebra")
    translating.add_argument("--max-pixels", type=int, default=MAX_PIXELS, help="of one photo (default: %(default)s)")

    sampling = _command(commands, "sample", "draw images from seed, seed + 1, ... into shards, a .tar each", _sample)
    sampling.add_argument("count", metavar="N", type=int, help="how many")
    sampling.add_argument("out", type=commandline.place, metavar="OUT", help="a folder or a bucket")
    sampling.add_argument("--model", required=True, help=model)
    sampling.add_argument("--seed", type=int, default=0, help="of the first sample (default: 0)")

    measuring = _command(commands, "features", "write the statistics of a set, for any FID with it", _features)
    measuring.add_argument(
        "source", type=commandline.place, metavar="IN", help=f"{images}, or of shards as `sample` draws them"
    )
    measuring.add_argument(
        "out", type=commandline.place, metavar="OUT.npz", help="the file to write, in a folder or a bucket"
    )
    measuring.add_argument("--protocol", choices=list(PROTOCOLS), default="pytorch-fid", help="how images are resized")
    measuring.add_argument("--keep", action="store_true", help="keep the features in it, for metrics beside FID")
    return parser


def _command(
    commands: "argparse._SubParsersAction[commandline.Parser]", name: str, about: str, plan: object
) -> commandline.Parser:
    command = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    command.add_argument(
        "--address", metavar="ray://HEAD:10001", help="a cluster of Ray (default: the cores of this machine)"
    )
    command.add_argument(
        "--actors", type=int, metavar="N", help="how many work at a time (default: all there is room for)"
    )
    command.set_defaults(plan=plan)
    return command


def _translate(options: argparse.Namespace) -> Plan:
    checkpoint = _checkpoint(options.model)
    return translate(options.source, options.out, checkpoint, options.direction, max_pixels=options.max_pixels)


def _sample(options: argparse.Namespace) -> Plan:
    return sample(options.count, options.out, _checkpoint(options.model), options.seed)


def _features(options: argparse.Namespace) -> Plan:
    return features(options.source, options.out, protocol=options.protocol, keep=options.keep)


def _checkpoint(model: str) -> Path:
    """The file of a model; raises NotFoundError where there is neither a file nor a shipped model of that name."""
    if Path(model).is_file():
        return Path(model)
    if (shipped := SHIPPED / f"{model}.safetensors").is_file() and "/" not in model:
        return shipped
    names = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.safetensors")))
    raise NotFoundError(
        f"There is no file {model}, and no shipped model of that name: they are {names}.", where="model"
    )

"""What can be typed after `gan`, and what is said of what cannot be meant (status 2, before anybody is asked)."""

import argparse
import math
import os
import re
from pathlib import Path
from typing import Any, get_args

from gan_client.client import DEFAULT_URL
from gan_client.options import ClipFormat, Format, Metric, Protocol, Term

KEPT_REFERENCE = "reference:"  # begins a set that is no path
_NUMERAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)  # RFC 8259, section 6


class _Parser(argparse.ArgumentParser):
    """Takes numbers as the service does: Python's own int and float read `1_0`, `nan` and the digits of every script.

    Flags are written in full.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, **named})
        self.register("type", int, _whole)
        self.register("type", float, _real)


def parser() -> argparse.ArgumentParser:
    """Of all commands: `command` is the one that was typed, `url` and `api_key` are the environment's by default."""
    top = _Parser(prog="gan", description="Command line of the GAN service.")
    _address_options(top)
    top.set_defaults(url=os.environ.get("GAN_URL") or DEFAULT_URL, api_key=os.environ.get("GAN_API_KEY", ""))
    top.set_defaults(callback=None)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, about: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=about, description=about)
        _address_options(made)
        return made

    sample = command("sample", "Draw new images into a folder, each named by its seed.")
    sample.add_argument("-n", type=_count, default=1, help="how many (1)")
    result = sample.add_mutually_exclusive_group(required=True)
    result.add_argument("-o", "--out", type=_folder, metavar="OUT", help="the folder, made where it is not there")
    result.add_argument("--job", action="store_true", help="do not wait: print the id of a job (gan jobs ID)")
    _callback_option(sample)
    sample.add_argument("--seed", type=int, help="of the first image; the others count on from it (by default drawn)")
    sample.add_argument("--class", dest="classes", type=_label, help="number or name, of a model that has classes")
    sample.add_argument(
        "--direction", dest="directions", type=_step, action="append", metavar="NAME=AMOUNT", help="what to change"
    )
    sample.add_argument(
        "--combine",
        type=_term,
        action="append",
        metavar="SEED=WEIGHT",
        help="a term of a sum that is drawn: combined.png",
    )
    sample.add_argument("--truncation", type=float, help="0.1 to 10: less varied, more typical")
    _image_options(sample, "of the files (png)")
    sample.set_defaults(format="png")

    encode = command("encode", "Find the latents of photos, and print them as JSON.")
    encode.add_argument(
        "photos", nargs="+", type=_existing, metavar="PHOTOS", help="files and folders, 32 photos in all"
    )
    encode.add_argument("--model", help="name, alias or NAME@VERSION; by default the first with an encoder")
    encode.add_argument("--search", action="store_true", help="by optimisation, of a model without an encoder")
    _callback_option(encode)
    encode.add_argument("-o", "--out", type=Path, help="the JSON goes there")

    direction = command("direction", "Keep the direction from one set of photos to another.")
    direction.add_argument("name", metavar="NAME")
    direction.add_argument("a", type=_existing, metavar="A", help="a photo or a folder of photos without it")
    direction.add_argument("b", type=_existing, metavar="B", help="a photo or a folder of photos with it")
    direction.add_argument("--model", help="name, alias or NAME@VERSION; by default the first with an encoder")
    direction.add_argument("--method", choices=("means", "linear"), help="from mean to mean, or across a plane (means)")

    translate = command("translate", "Translate photos. Called again, it goes on where it stopped.")
    translate.add_argument("photos", nargs="+", type=_existing, metavar="PHOTOS", help="files and folders")
    translate.add_argument("out", type=_folder, metavar="OUT", help="a folder; names and sub-folders are kept")
    translate.add_argument("--direction", help="a_to_b (the default), b_to_a, or the domain to go to, such as zebra")
    translate.add_argument("--strength", type=float, help="0, the photo, to 1, the translation (1)")
    translate.add_argument("--mask", action="store_true", default=None, help="also NAME.mask.png: what was changed")
    translate.add_argument("--parallel", type=_count, default=4, metavar="N", help="photos under way at once (4)")
    _image_options(translate, "of the files (png, and of what moves its own)", *get_args(ClipFormat))

    score = command("score", "Compare two sets of images: a folder, an archive, an .npz, or reference:NAME.")
    score.add_argument("a", type=_set, metavar="A", help="what is judged")
    score.add_argument("b", type=_set, metavar="B", nargs="?", help="what it should look like")
    score.add_argument("--metrics", type=_metrics, help=f"of {','.join(get_args(Metric))}, separated by commas (fid)")
    score.add_argument("--protocol", choices=get_args(Protocol), help="how images are resized")
    score.add_argument("--extractor", metavar="NAME", help="what looks at the images, as the service offers it")
    score.add_argument("--bootstrap", type=int, metavar="N", help="resamples behind the intervals; 0: none (200)")
    score.add_argument("--job", action="store_true", help="do not wait: print the id of a job (gan jobs ID)")

    _callback_option(score)

    jobs = command("jobs", "Look at a job, follow it, wait for its result, or cancel it.")
    jobs.add_argument("id", metavar="ID")
    action = jobs.add_mutually_exclusive_group()
    action.add_argument("--wait", action="store_true", help="wait for its end, and give the result")
    action.add_argument("--follow", action="store_true", help="print what becomes of it, one JSON object a line")
    action.add_argument("--cancel", action="store_true", help="stop it; remove it with its result where it is over")
    jobs.add_argument("-o", "--out", type=Path, help="with --wait: where the result goes; of many images, a folder")
    return top


def _address_options(parser: argparse.ArgumentParser) -> None:
    """Before the command or after it: a default of the command's own would undo what was typed before it."""
    parser.add_argument(
        "--url", type=_url, default=argparse.SUPPRESS, help=f"the service's address (GAN_URL; {DEFAULT_URL})"
    )
    key = "where the service asks for one; GAN_API_KEY keeps it out of the list of processes"
    parser.add_argument("--api-key", metavar="KEY", default=argparse.SUPPRESS, help=key)


def _callback_option(parser: argparse.ArgumentParser) -> None:
    about = "an address that the service tells of the job's end, where its operator allows it"
    parser.add_argument("--callback", type=_url, metavar="URL", help=about)


def _image_options(parser: argparse.ArgumentParser, about_format: str, *more_formats: str) -> None:
    parser.add_argument("--model", help="name, alias or NAME@VERSION; by default the first of the kind")
    formats = dict.fromkeys([*get_args(Format), *more_formats])
    parser.add_argument("--format", choices=list(formats), help=about_format)
    parser.add_argument("--quality", type=int, help="1 to 100, of JPEG and WebP (90)")


# Types of arguments ------------------------------------------------------------------------


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} is no address; one begins with http:// or https://")
    return text


def _whole(text: str) -> int:
    if not _NUMERAL.fullmatch(text) or not text.removeprefix("-").isdecimal():
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number; write digits, such as 90")
    if len(text) > 19:  # a seed has as many at most
        raise argparse.ArgumentTypeError(f"{text[:40]} is too large a number")
    return int(text)


def _real(text: str) -> float:
    if not _NUMERAL.fullmatch(text) or math.isinf(number := float(text)):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number; write digits, such as 90, 0.5 or 1e-4")
    return number


def _count(text: str) -> int:
    if (count := _whole(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return count


def _label(text: str) -> int | str:
    return _whole(text) if _NUMERAL.fullmatch(text) and text.isdecimal() else text


def _step(text: str) -> tuple[str, float]:
    name, _, amount = text.partition("=")
    try:
        return name, _real(amount)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is no step; one is NAME=AMOUNT, such as sefa-1=2") from None


def _term(text: str) -> Term:
    seed, _, weight = text.partition("=")
    try:
        return {"seed": _whole(seed), "weight": _real(weight)}
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is no term; one is SEED=WEIGHT, such as 7=0.5") from None


def _existing(text: str) -> Path:
    if not _is_there(text):
        raise argparse.ArgumentTypeError(f"{text}: no such file or folder")
    return Path(text)


def _folder(text: str) -> Path:
    if _is_there(text) and not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a file, and a folder is needed")
    return Path(text)


def _is_there(text: str) -> bool:
    if not text:  # a variable that is not set: it would stand for the folder that the command is in
        raise argparse.ArgumentTypeError("an empty text names no file")
    try:
        return Path(text).exists()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise argparse.ArgumentTypeError(f"{text[:200]}: {error.strerror}") from error


def _set(text: str) -> Path | str:
    return text if text.startswith(KEPT_REFERENCE) else _existing(text)


def _metrics(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in get_args(Metric)]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(get_args(Metric))}")
    return names

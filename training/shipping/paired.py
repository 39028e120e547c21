"""`python -m training paired`: a translator's translations beside the true pictures, where data have pairs.

    python -m training paired runs/emoji/emoji.safetensors --data data/emoji/google2openmoji

Pairs are for measuring alone: the games that train translators take what they learn from in no common order.
"""

import argparse
import sys
from pathlib import Path

from models import InputError, Translator, load
from training.engine.console import say
from training.shipping.likeness import entries, read_pairs
from training.shipping.measure import translate

ABOUT = "Measure how near translations come to the true pictures, where testA and testB hold pairs."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `python -m training paired`."""
    parser.add_argument("checkpoint", type=Path, help="NAME.safetensors of a translator")
    parser.add_argument("--data", type=Path, required=True, help="folder whose testA and testB hold the same names")


def run(typed: argparse.Namespace) -> int:
    """Prints a line for each measure of each direction, and one for what the untouched photos score.

    Raises:
        InputError, CheckpointError: the checkpoint is none of a translator; as `read_pairs`.
    """
    if not typed.checkpoint.is_file():
        raise InputError(f"There is no checkpoint {str(typed.checkpoint)!r}.", where="checkpoint")
    model, pairs = load(typed.checkpoint, Translator), read_pairs(typed.data)
    for direction in model.directions:
        photos, truth = pairs[direction[0]], pairs[direction[-1]]
        translations = [translate(model, photo[None], direction)[0] for photo in photos]
        for name, entry in entries(photos, translations, truth, direction).items():
            low, high = entry["interval"]
            words = name.replace("_", " ")
            figures = f"{entry['value']:8.4g}  ({low:.4g} to {high:.4g})"
            say(f"{words:32}{figures:28}  {entry['protocol']}, of {entry['images']:,} pairs", sys.stdout)
    return 0

"""`--start CHECKPOINT`: generators that begin where others ended, for little data or little time.

A checkpoint holds what is served, generators alone; their discriminators begin anew, and need some time before they
judge well (`--g-warmup-kimg`).
"""

from pathlib import Path
from typing import Any

from torch import nn

from models import InputError, NotFoundError, load

_NEW = "scales."  # of classes, which begin as if there were none (models/dcgan.py, ClassScale)


def begin_with(checkpoint: str, networks: dict[str, nn.Module]) -> dict[str, Any]:
    """Gives networks the weights of a checkpoint, in place.

    Args:
        checkpoint: a file that `models.load` takes.
        networks: by part: "generator", or "a_to_b" and "b_to_a". An unconditional generator's weights fit one whose
            classes scale and shift its batch norms.
    Returns:
        For the metadata of what is trained from them: the checkpoint's name, its digest, and how many images it was
        trained on, those of its own beginning among them.
    Raises:
        InputError: the checkpoint holds other parts, or its weights have other names or shapes.
        NotFoundError: there is no such file.  CheckpointError: it is no checkpoint.
    """
    if not Path(checkpoint).is_file():
        raise NotFoundError(f"--start {checkpoint}: there is no such file.", where="start")
    model = load(Path(checkpoint))
    parts = model.parts
    for name, network in networks.items():
        if name not in parts:
            raise InputError(f"--start {checkpoint} holds {' and '.join(parts)}, not {name}.", where="start")
        given, wanted = parts[name].state_dict(), network.state_dict()
        differ = sorted(
            key
            for key in given.keys() | wanted.keys()
            if not (key in given and key in wanted and given[key].shape == wanted[key].shape)
            and not (key.startswith(_NEW) and key not in given)
        )
        if differ:
            lacking = "embedding.weight" in wanted.keys() - given.keys()
            raise InputError(
                f"--start {checkpoint} is a network of another shape than this run's: {', '.join(differ[:3])} "
                f"{'differs' if len(differ) == 1 else 'differ'}. Its architecture is {model.metadata.architecture}."
                + (" To give it classes, say --class-embedding 0." if lacking else ""),
                where="start",
            )
        network.load_state_dict(given, strict=False)
    before = model.metadata.training
    images = before.get("images", 0) + before.get("start", {}).get("images", 0)
    return {"name": Path(checkpoint).stem, "digest": model.digest, "images": images}

"""`--start`: networks that begin where others ended: for little data, little time, or another game from there on.

A checkpoint holds what is served, generators alone; their discriminators begin anew, and need some time before they
judge well (`--g-warmup-kimg`). The folder of a run holds its discriminators too.
"""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from models import DCGANConfig, InputError, NotFoundError, load
from training.networks.widen import fits, widened
from training.options.flags import read_json
from training.run.folder import RunFolder, at
from training.run.state import read

_NEW = "scales."  # of classes, which begin as if there were none (models/networks/dcgan.py, ClassScale)


def begin_with(start: str, generators: dict[str, nn.Module], discriminators: dict[str, nn.Module]) -> dict[str, Any]:
    """Gives networks the weights of others, in place.

    Args:
        start: a checkpoint, a file that `models.load` takes; or the folder of a run, for its checkpoint of averaged
            generators and the discriminators of its snapshot.
        generators: by part: "generator", or "a_to_b" and "b_to_a". An unconditional generator's weights fit one whose
            classes scale and shift its batch norms; a DCGAN's one that is twice, three times, ... as wide.
        discriminators: by their names in a snapshot. A checkpoint leaves them as they are.
    Returns:
        For the metadata of what is trained from them: the checkpoint's name, its digest, and how many images it was
        trained on, those of its own beginning among them.
    Raises:
        InputError: there are other parts, or weights of other names or shapes.
        NotFoundError: there is no such file.  CheckpointError: it is no checkpoint, or no snapshot.
    """
    folder = _folder(Path(start))
    checkpoint = folder.checkpoint() if folder else Path(start)
    for file in (checkpoint, folder.state) if folder else (checkpoint,):
        if not file.is_file():
            raise NotFoundError(f"--start {start}: there is no {file.name if folder else 'such file'}.", where="start")
    model = load(checkpoint)
    given: dict[str, dict[str, Tensor]] = read(folder.state)["networks"] if folder else {}
    given |= {name: part.state_dict() for name, part in model.parts.items()}  # averaged, over the snapshot's own
    for name, network in generators.items():
        narrow, wide = model.config, network.config
        if isinstance(narrow, DCGANConfig) and isinstance(wide, DCGANConfig) and fits(narrow, wide):
            given[name] = widened(given[name], narrow, wide)
    for name, network in (generators | (discriminators if folder else {})).items():
        if name not in given:
            raise InputError(f"--start {start} holds {' and '.join(given)}, not {name}.", where="start")
        if differ := _differences(given[name], network):
            classes = name in generators and "embedding.weight" in network.state_dict().keys() - given[name].keys()
            raise InputError(
                f"--start {start}: its {name} is a network of another shape than this run's: {', '.join(differ[:3])} "
                f"{'differs' if len(differ) == 1 else 'differ'}. Its architecture is {model.metadata.architecture}."
                + (" To give it classes, say --class-embedding 0." if classes else ""),
                where="start",
            )
        network.load_state_dict(given[name], strict=False)
    before = model.metadata.training
    images = before.get("images", 0) + before.get("start", {}).get("images", 0)
    return {"name": checkpoint.stem, "digest": model.digest, "images": images}


def _folder(start: Path) -> RunFolder | None:
    """The run's folder, or None for a checkpoint."""
    if not start.is_dir():
        return None
    config = read_json(start / "config.json", "--start")
    return at(str(start), config.get("output", {}).get("name", ""))


def _differences(given: dict[str, Tensor], network: nn.Module) -> list[str]:
    """The names of weights that one of both lacks, or has in another shape."""
    wanted = network.state_dict()
    return sorted(
        key
        for key in given.keys() | wanted.keys()
        if not (key in given and key in wanted and given[key].shape == wanted[key].shape)
        and not (key.startswith(_NEW) and key not in given)
    )

"""`--start`: networks that begin where others ended: for little data, little time, or another game from there on.

A checkpoint holds what is served, generators alone; their discriminators begin anew, and need some time before they
judge well (`--g-warmup-kimg`). The folder of a run holds its discriminators too.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import models
from models import InputError, NotFoundError
from training.games.game import Game
from training.networks.widen import fits, widened
from training.options.flags import read_json
from training.run.folder import RunFolder, at
from training.run.state import read

_NEW = (  # what a network may have and the weights that it begins with may lack
    "scales.",  # of classes, which begin as if there were none (models/networks/classes.py, ClassScale)
    "mask.",  # of a translator, which begins with most of the painting (models/networks/attention.py)
)


@dataclass(frozen=True)
class Start:
    """What a run starts with.

    Attributes:
        model: the checkpoint, whose averaged generators are taken.
        others: weights by the names of networks in a snapshot; empty for a checkpoint alone.
    """

    model: models.Model
    name: str
    others: dict[str, dict[str, Tensor]]

    @property
    def weights(self) -> dict[str, dict[str, Tensor]]:
        """By network: the averaged ones go over a snapshot's own."""
        return self.others | {name: part.state_dict() for name, part in self.model.parts.items()}

    @property
    def origin(self) -> dict[str, Any]:
        """For the metadata of what is trained from it: name, digest, and how many images it was trained on, those of
        its own beginning among them."""
        before = self.model.metadata.training
        images = before.get("images", 0) + before.get("start", {}).get("images", 0)
        return {"start": {"name": self.name, "digest": self.model.digest, "images": images}}


def begin(game: Game, start: str) -> None:
    """Gives a game's networks the weights of others, in place.

    Args:
        start: a checkpoint, a file that `models.load` takes; or the folder of a run, for its checkpoint of averaged
            generators and the discriminators of its snapshot. An unconditional generator's weights fit one whose
            classes scale and shift its batch norms; a DCGAN's one that is twice, three times, ... as wide.

    Raises:
        InputError: there are other parts, or weights of other names or shapes.
        NotFoundError: there is no such file.  CheckpointError: it is no checkpoint, or no snapshot.
    """
    found = read_start(start)
    wanted = game.players.networks if found.others else game.parts
    weights = {name: _fitted(start, found, name, network) for name, network in wanted.items()}
    game.begin_with(weights, found.origin)


def read_start(start: str) -> Start:
    """Reads a checkpoint, or a run's folder; raises as `begin`."""
    folder = _folder(Path(start))
    checkpoint = folder.checkpoint() if folder else Path(start)
    for file in (checkpoint, folder.state) if folder else (checkpoint,):
        if not file.is_file():
            raise NotFoundError(f"--start {start}: there is no {file.name if folder else 'such file'}.", where="start")
    return Start(models.load(checkpoint), checkpoint.stem, read(folder.state)["networks"] if folder else {})


def _folder(start: Path) -> RunFolder | None:
    """The run's folder, or None for a checkpoint."""
    if not start.is_dir():
        return None
    config = read_json(start / "config.json", "--start")
    return at(str(start), config.get("output", {}).get("name", ""))


def _fitted(start: str, found: Start, name: str, network: nn.Module) -> dict[str, Tensor]:
    """The weights that one network begins with, as wide as it is; raises InputError where they are not its own."""
    if name not in found.weights:
        raise InputError(f"--start {start} holds {' and '.join(found.weights)}, not {name}.", where="start")
    weights, is_generator = found.weights[name], name in found.model.parts
    if is_generator and fits(found.model.config, network.config):
        weights = widened(weights, found.model.config, network.config)
    # a checkpoint's weights have taken in what training divides by
    wanted = models.state_without_spectral_norm(network) if is_generator else network.state_dict()
    if differ := _differences(weights, wanted):
        addable = is_generator and isinstance(network.config, models.DCGANConfig)
        classes = addable and "embedding.weight" in wanted.keys() - weights.keys()
        raise InputError(
            f"--start {start}: its {name} is a network of another shape than this run's: {', '.join(differ[:3])} "
            f"{'differs' if len(differ) == 1 else 'differ'}. Its architecture is {found.model.metadata.architecture}."
            + (" To give it classes, say --class-embedding 0." if classes else ""),
            where="start",
        )
    return weights


def _differences(given: dict[str, Tensor], wanted: dict[str, Tensor]) -> list[str]:
    """The names of weights that one of both lacks, or has in another shape."""
    return sorted(
        key
        for key in given.keys() | wanted.keys()
        if not (key in given and key in wanted and given[key].shape == wanted[key].shape)
        and not (key.startswith(_NEW) and key not in given)
    )

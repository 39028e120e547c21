"""Checkpoints of other projects, converted to ours: ResNet and U-Net generators of pytorch-CycleGAN-and-pix2pix and
CUT, generators of pytorch/examples' dcgan, of BigGAN-PyTorch, and StudioGAN's BigGAN and SNGAN
(`models.checkpoints.layouts` has what is read of them).

Foreign files are pickles. They are read with `weights_only=True`: tensors and plain containers load, anything that
would run code is refused.
"""

import dataclasses
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeGuard

import torch

from models.architectures import Architecture
from models.checkpoints.checkpoint import save, with_directions
from models.checkpoints.layouts import read_layout
from models.checkpoints.told import State, Told
from models.errors import CheckpointError, InputError
from models.files import sha256_of
from models.metadata import Metadata
from models.networks.table import face_of, kind_of, metadata_of

# Under which name a file that holds more than a generator keeps it.
_GENERATORS = ("state_dict", "netG", "generator", "G")

_TORCH = (b"PK\x03\x04", b"\x80")  # how files of torch.save begin: a zip, or before 1.6 a pickle

# What is often met in the place of one, by how it begins.
_OTHERS = {
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself with `git lfs pull`",
    b"<": "a web page; the download may ask for a login, or the address is of a page about the file",
    b"\x89HDF": "an HDF5 file, as Keras writes them",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"": "empty",
}


def import_checkpoint(
    source: str | Path,
    destination: str | Path,
    *,
    reverse: str | Path | None = None,
    domains: tuple[str, str] = ("a", "b"),
    classes: Sequence[str] | None = None,
    told: Told | None = None,
) -> Metadata:
    """Converts a foreign checkpoint and writes ours.

    Args:
        source: a foreign `.pth`; of a translator, the network from a to b.
        destination: the `.safetensors` to write.
        reverse: of a translator, the network from b to a, where there is one.
        domains: what a and b show, for translators.
        classes: the names of a conditional sampler's classes, in the order of its tables; by default their numbers.
        told: what the tensors do not say; by default as the projects' own code has it. Either way the metadata's
            `training.imported_as` keeps it.
    Returns:
        The metadata that was written.
    Raises:
        CheckpointError: unreadable, unsafe, of no family, with other arithmetic than ours, the two directions differ
            in architecture, or it has not as many classes as names.
        InputError: the destination is one of the sources.
    """
    told = told or Told()
    if Path(destination).resolve() in {Path(one).resolve() for one in (source, reverse) if one is not None}:
        raise InputError(f"{Path(destination).name} is what is to be imported: write to another file.", where="out")
    config, state = read_foreign(source, told)
    names = [Path(source).name]
    digests = [sha256_of(source)]
    part, *others = face_of(config).PARTS
    parts, translates = {part: state}, "b_to_a" in others
    if reverse is not None:
        if not translates:
            raise CheckpointError(f"{names[0]} is of kind {kind_of(config)}: it has no reverse direction.")
        reverse_config, parts["b_to_a"] = read_foreign(reverse, told)
        if reverse_config != config:
            raise CheckpointError(f"The two directions differ: {config} and {reverse_config}.")
        names.append(Path(reverse).name)
        digests.append(sha256_of(reverse))
    metadata = metadata_of(
        config,
        domains=domains if translates else None,
        classes=_class_names(config, classes),
        training={"imported_from": names, "imported_sha256": digests, "imported_as": dataclasses.asdict(told)},
    )
    save(destination, with_directions(parts, metadata), metadata)
    return metadata


def _class_names(config: Architecture, given: Sequence[str] | None) -> tuple[str, ...] | None:
    """The names that were given, else the numbers of the classes that there are."""
    if given is not None:
        return tuple(given)
    return tuple(map(str, range(getattr(config, "classes", 0)))) or None


def read_foreign(source: str | Path, told: Told) -> tuple[Architecture, State]:
    """A foreign generator as (our config, our state dictionary); raises as `import_checkpoint` does."""
    name = Path(source).name
    state = _read_tensors(Path(source))
    try:
        config, ours = read_layout(state, told)
        with torch.device("meta"):
            network = config.parts()[face_of(config).PARTS[0]]
        network.load_state_dict(ours, strict=True, assign=True)
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error.message}") from error
    except (RuntimeError, InputError, KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"{name} does not have the layout that its family has: {error}") from error
    return config, ours


def _read_tensors(source: Path) -> State:
    if source.exists() and not source.is_file():
        raise CheckpointError(f"{source.name or source} is not a regular file.")
    with source.open("rb") as file:
        start = file.read(64)
    if not start.startswith(_TORCH):
        known = (what for begin, what in _OTHERS.items() if start.lstrip()[: len(begin) or None] == begin)
        what = next(known, f"something else; it begins with {start[:16]!r}")
        raise CheckpointError(f"{source.name} is no checkpoint, which torch.save writes. It is {what}.")
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{source.name} was refused: it is not a plain file of tensors, and reading it could run code of its "
            "author's. Save the network's state_dict() and import that."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{source.name} is not a whole torch checkpoint: {error}") from error
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{source.name} does not hold a state dictionary.")
    found = next((one for one in (content, *map(content.get, _GENERATORS)) if _is_state(one)), None)
    if found is not None:
        return dict(found)
    raise CheckpointError(f"{source.name} holds more than tensors: save the generator's state_dict() alone.")


def _is_state(content: object) -> TypeGuard[Mapping[str, torch.Tensor]]:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items())
    )

"""The checkpoint: one `NAME.safetensors` with the weights that are served and everything that rebuilds the network.

No pickle, so loading runs no code. The header's `gan_service` entry is one JSON object (`models.metadata`): one entry,
because the format does not fix the order of several, and equal checkpoints should have equal digests.

Tensors are named by the part that they belong to, as the architecture's face names it: `generator.*`, or `a_to_b.*` and
`b_to_a.*` for translators (one of the two may be missing). A generator's latent directions (models/directions.py) stand
beside its parts as `directions.NAME`, where they were computed. Files are written atomically. Optimizers and other
training state never enter this file.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, overload

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from safetensors.torch import save_file
from torch import nn

from models.directions import find_directions
from models.errors import CheckpointError, InputError
from models.faces import DIRECTIONS, Generator, Model
from models.files import atomic_path
from models.metadata import Metadata, parse
from models.networks.table import config_from, face_of

_ENTRY = "gan_service"

Face = TypeVar("Face", bound=Model)
State = Mapping[str, torch.Tensor]


def save(
    path: str | Path,
    modules: Mapping[str, nn.Module | State],
    metadata: Metadata,
    *,
    half: bool = False,
) -> None:
    """Writes a checkpoint atomically.

    Args:
        modules: the parts that the architecture's face names ({"generator": ...} for samplers, {"a_to_b": ...,
            "b_to_a": ...} for translators); modules or state dictionaries (EMA weights are what should be served);
            beside a generator's, its "directions" (see `with_directions`).
        half: store floating-point tensors as float16, which halves the file; loading gives float32 again.
    Raises:
        CheckpointError: a tensor holds NaN or Inf, as it is or after halving, a part is missing or has no place in
            this architecture, or the metadata is not valid.
    """
    metadata.check("The metadata to save")
    _face(metadata, "The metadata to save").check_parts(set(modules), "What is to be saved")
    tensors = {}
    for part, module in modules.items():
        state = module.state_dict() if isinstance(module, nn.Module) else module
        for name, tensor in state.items():
            value = tensor.detach().cpu().contiguous()
            if half and value.is_floating_point():
                value = value.half()
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise CheckpointError(f"{part}.{name} holds NaN or Inf: the checkpoint was not written.")
            tensors[f"{part}.{name}"] = value
    _write(Path(path), tensors, metadata)


def with_directions(modules: Mapping[str, nn.Module | State], metadata: Metadata) -> dict[str, nn.Module | State]:
    """The parts that `save` takes, with a generator's latent directions computed beside them; the modules stay as they
    are.

    Raises:
        CheckpointError: as `save` and `load` do.
    """
    face = _face(metadata, "The metadata to save")
    parts = {name: module for name, module in modules.items() if name != DIRECTIONS}
    if not isinstance(face, Generator):
        return parts
    face.check_parts(set(parts), "What is to be saved")
    states = {name: one.state_dict() if isinstance(one, nn.Module) else one for name, one in parts.items()}
    return {**parts, DIRECTIONS: find_directions(_with_parts(face, states, "What is to be saved"))}


def add_directions(path: str | Path) -> None:
    """Computes a generator's latent directions and writes its checkpoint anew with them, atomically.

    The networks stay as they are, bit by bit; the file's digest changes. Raises as `load` does, and InputError for a
    translator.
    """
    path = Path(path)
    found = find_directions(load(path, Generator))
    model, tensors = _read(path)
    kept = {name: one for name, one in tensors.items() if not name.startswith(f"{DIRECTIONS}.")}
    _write(path, kept | {f"{DIRECTIONS}.{name}": one for name, one in found.items()}, model.metadata)


def _write(path: Path, tensors: dict[str, torch.Tensor], metadata: Metadata) -> None:
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={_ENTRY: metadata.to_json()})


def read_metadata(path: str | Path) -> Metadata:
    """A checkpoint's metadata, without building its networks.

    Raises:
        CheckpointError: not a safetensors file, not one of ours, or of a newer format.
        FileNotFoundError: no such file.
    """
    model, _ = _read(Path(path))
    return model.metadata


def with_metadata(path: str | Path, metadata: Metadata) -> None:
    """Replaces a checkpoint's metadata atomically; its tensors stay as they are, bit by bit."""
    path = Path(path)
    _, tensors = _read(path)  # refuses to touch a file that is not ours
    metadata.check(path.name)
    _face(metadata, path.name)
    _write(path, tensors, metadata)


def _read(path: Path) -> tuple[Model, dict[str, torch.Tensor]]:
    """A checkpoint's face, still without networks, and its tensors; digest and tensors are of the same bytes.

    The file is read once and not mapped: whoever writes over it later changes neither the weights that are in use nor
    what their digest stands for, and a file cut short under a map would end the process (SIGBUS).
    """
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path.name or path} is not a regular file.")
    data = path.read_bytes()
    try:
        tensors = deserialize(data)
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is not a whole safetensors file: {error}.") from error
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    if _ENTRY not in header:
        raise CheckpointError(
            f"{path.name} is a safetensors file but not a checkpoint of ours: its header has no {_ENTRY!r} entry. "
            "`python -m models import` converts checkpoints of other projects."
        )
    face = _face(parse(header[_ENTRY], path.name), path.name)
    return replace(face, digest=hashlib.sha256(data).hexdigest()), tensors


def _face(metadata: Metadata, name: str) -> Model:
    """The face of a checkpoint, without its networks; raises CheckpointError where the metadata does not fit it."""
    config = config_from(metadata.kind, metadata.architecture)
    face = face_of(config)({}, config, metadata, "")
    face.check(name)
    return face


@overload
def load(path: str | Path, *, device: str | torch.device = "cpu") -> Model: ...
@overload
def load(path: str | Path, face: type[Face], *, device: str | torch.device = "cpu") -> Face: ...
def load(path: str | Path, face: type[Model] = Model, *, device: str | torch.device = "cpu") -> Model:
    """Rebuilds a network from its checkpoint alone: float32, in eval mode, on `device`.

    Args:
        face: what is wanted, where it matters: `Generator` (latents to images), `Autoencoder` (a generator that finds
            the codes of images too) or `Translator` (images and a direction to images).
    Returns:
        One of these, as the architecture has it.
    Raises:
        CheckpointError: the file is not a checkpoint of ours, is cut short, holds NaN or Inf, or its tensors do
            not fit its architecture.
        InputError: it has another face than the one that is wanted.
        FileNotFoundError: no such file.
    """
    path = Path(path)
    model, tensors = _read(path)
    if not isinstance(model, face):
        raise InputError(
            f"{path.name} is of kind {model.metadata.kind}, a model that {model.DOES}; one that {face.DOES} is needed.",
            where=path.name,
        )
    states: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        part, _, name = key.partition(".")
        states.setdefault(part, {})[name] = value
    model.check_parts(set(states), path.name)
    directions = dict(sorted(_checked(states.pop(DIRECTIONS, {}), DIRECTIONS, path.name).items()))
    model = _with_parts(model, states, path.name)
    if isinstance(model, Generator):
        model = replace(model, latent_directions=directions)
        model.check_directions(path.name)
    return model.to(device)


def _with_parts(face: Face, states: Mapping[str, State], file: str) -> Face:
    """The face with its networks, in eval mode."""
    with torch.device("meta"):  # no memory is taken for a size that the tensors then do not have
        networks = face.config.parts()
    parts = {part: _filled(networks[part], states[part], part, file) for part in face.PARTS if part in states}
    return replace(face, parts=parts)


def _checked(state: State, part: str, file: str) -> dict[str, torch.Tensor]:
    """The tensors, those of fractions as float32. Raises CheckpointError for NaN or Inf."""
    for name, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{file}: {part}.{name} holds NaN or Inf.")
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def _filled(network: nn.Module, state: State, part: str, file: str) -> nn.Module:
    try:
        network.load_state_dict(_checked(state, part, file), strict=True, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"{file}: its tensors do not fit its architecture. {error}") from error
    return network.eval().requires_grad_(False)

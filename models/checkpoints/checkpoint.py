"""The checkpoint: one `NAME.safetensors` with the weights that are served and everything that rebuilds the network.

No pickle, so loading runs no code. The header's `gan_service` entry is one JSON object
(`models.checkpoints.metadata`): one entry, because the format does not fix the order of several, and equal checkpoints
should have equal digests.

Tensors are named `generator.*` for samplers, `a_to_b.*` and `b_to_a.*` for translators (one of the two may be
missing). Files are written atomically. Optimizers and other training state never enter this file.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from models.checkpoints.loaded import Generator, Translator
from models.checkpoints.metadata import Metadata, check, parse
from models.errors import CheckpointError
from models.files import atomic_path, sha256_of
from models.networks.architectures import GeneratorConfig, ResNetConfig, build_generator

_ENTRY = "gan_service"
DIRECTIONS = ("a_to_b", "b_to_a")


def save(
    path: str | Path,
    modules: Mapping[str, nn.Module | Mapping[str, torch.Tensor]],
    metadata: Metadata,
    *,
    half: bool = False,
) -> None:
    """Writes a checkpoint atomically.

    Args:
        modules: {"generator": ...} for samplers, {"a_to_b": ..., "b_to_a": ...} for translators; modules or state
            dictionaries (EMA weights are what should be served).
        half: store floating-point tensors as float16, which halves the file; loading gives float32 again.
    Raises:
        CheckpointError: a tensor holds NaN or Inf, as it is or after halving, or the metadata is not valid.
    """
    check(metadata, "the metadata to save")
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


def _write(path: Path, tensors: dict[str, torch.Tensor], metadata: Metadata) -> None:
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={_ENTRY: metadata.to_json()})


def read_metadata(path: str | Path) -> Metadata:
    """A checkpoint's metadata, without loading its tensors.

    Raises:
        CheckpointError: not a safetensors file, not one of ours, or of a newer format.
        FileNotFoundError: no such file.
    """
    path = Path(path)
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is not a whole safetensors file: {error}.") from error
    if _ENTRY not in header:
        raise CheckpointError(
            f"{path.name} is a safetensors file but not a checkpoint of ours: its header has no {_ENTRY!r} entry. "
            "`python -m models import` converts checkpoints of other projects."
        )
    return parse(header[_ENTRY], path.name)


def with_metadata(path: str | Path, metadata: Metadata) -> None:
    """Replaces a checkpoint's metadata atomically; its tensors stay as they are, bit by bit."""
    path = Path(path)
    read_metadata(path)  # refuses to touch a file that is not ours
    check(metadata, path.name)
    _write(path, _read_tensors(path), metadata)


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping


def load(path: str | Path, *, device: str | torch.device = "cpu") -> Generator | Translator:
    """Rebuilds a network from its checkpoint alone: float32, in eval mode, on `device`.

    Returns:
        A `Generator` (latents to images) or a `Translator` (images and a direction to images).
    Raises:
        CheckpointError: the file is not a checkpoint of ours, is cut short, holds NaN or Inf, or its tensors do
            not fit its architecture.
        FileNotFoundError: no such file.
    """
    path = Path(path)
    metadata = read_metadata(path)
    tensors = _read_tensors(path)
    parts = {name.partition(".")[0] for name in tensors}
    config = metadata.config
    expected = set(DIRECTIONS) if isinstance(config, ResNetConfig) else {"generator"}
    if not parts or parts - expected:
        raise CheckpointError(
            f"{path.name}: a {metadata.kind} checkpoint holds {' and '.join(sorted(expected))}, not {sorted(parts)}."
        )
    networks = {part: _rebuild(config, part, tensors, path.name).to(device) for part in sorted(parts)}
    digest = sha256_of(path)
    if isinstance(config, ResNetConfig):
        assert metadata.domains is not None  # _check_metadata
        return Translator(nn.ModuleDict(networks), config, metadata.domains, metadata, digest)
    return Generator(networks["generator"], config, metadata.classes or (), metadata, digest)


def _rebuild(config: GeneratorConfig, part: str, tensors: dict[str, torch.Tensor], name: str) -> nn.Module:
    state = {}
    for key, value in tensors.items():
        if key.startswith(part + "."):
            value = value.float() if value.is_floating_point() else value
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise CheckpointError(f"{name}: {key} holds NaN or Inf.")
            state[key.removeprefix(part + ".")] = value
    with torch.device("meta"):  # no memory is taken for a size that the tensors then do not have
        module = build_generator(config)
    try:
        module.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"{name}: its tensors do not fit its architecture. {error}") from error
    return module.eval().requires_grad_(False)

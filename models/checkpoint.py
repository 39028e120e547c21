"""The checkpoint: one `NAME.safetensors` with the weights that are served and everything that rebuilds the network.

No pickle, so loading runs no code. The header's `gan_service` entry is one JSON object (one entry, because the format
does not fix the order of several, and equal checkpoints should have equal digests):

    format_version  1
    kind            "dcgan", "mlp" or "cyclegan"
    architecture    the frozen config of `models.architectures`
    domains         ["horse", "zebra"] for translators, else null
    classes         ["airplane", ...] for class-conditional generators, else null
    training        loss, steps, images seen, dataset name and digest, seed, code version, device kind, ...
    metrics         name -> value, protocol, sample counts, reference

Tensors are named `generator.*` for samplers, `a_to_b.*` and `b_to_a.*` for translators (one of the two may be
missing). Files are written atomically. Optimizers and other training state never enter this file.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from models.architectures import GeneratorConfig, ResNetConfig, build_generator, config_from
from models.errors import CheckpointError
from models.files import atomic_path, sha256_of
from models.loaded import Generator, Translator

FORMAT_VERSION = 1
_ENTRY = "gan_service"
DIRECTIONS = ("a_to_b", "b_to_a")


@dataclass(frozen=True)
class Metadata:
    """What a checkpoint says of itself (see the head of this file)."""

    kind: str
    architecture: dict[str, Any]
    domains: tuple[str, str] | None = None
    classes: tuple[str, ...] | None = None
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def config(self) -> GeneratorConfig:
        """The frozen architecture config; raises CheckpointError where it is not valid."""
        return config_from(self.kind, self.architecture)


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
    _check_metadata(metadata, "the metadata to save")
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
        save_file(tensors, temporary, metadata={_ENTRY: json.dumps(dataclasses.asdict(metadata))})


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
    try:
        fields = json.loads(header[_ENTRY])
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path.name}: its header is not JSON: {error}.") from error
    known = {field.name for field in dataclasses.fields(Metadata)}
    if not isinstance(fields, dict) or not {"format_version", "kind", "architecture"} <= set(fields) <= known:
        raise CheckpointError(f"{path.name}: its header must be a JSON object of {', '.join(sorted(known))}.")
    for name in ("domains", "classes"):
        if isinstance(fields.get(name), list):
            fields[name] = tuple(fields[name])
    metadata = Metadata(**fields)
    _check_metadata(metadata, path.name)
    return metadata


def _check_metadata(metadata: Metadata, name: str) -> None:
    if metadata.format_version != FORMAT_VERSION:
        raise CheckpointError(
            f"{name} has format {metadata.format_version}; this version reads format {FORMAT_VERSION}."
        )
    for part in ("architecture", "training", "metrics"):
        if not isinstance(getattr(metadata, part), dict):
            raise CheckpointError(f"{name}: {part} must be a JSON object.")
    config = metadata.config
    if isinstance(config, ResNetConfig):
        domains = metadata.domains
        if not isinstance(domains, tuple) or len(domains) != 2 or not all(isinstance(d, str) for d in domains):
            raise CheckpointError(f'{name}: a translator needs two domain names, such as ["horse", "zebra"].')
        return
    if metadata.domains is not None:
        raise CheckpointError(f"{name}: only translators have domains.")
    classes = metadata.classes or ()
    if len(classes) != config.classes or not all(isinstance(name, str) for name in classes):
        raise CheckpointError(f"{name}: {config.classes} class names are needed, {len(classes)} are given.")


def with_metadata(path: str | Path, metadata: Metadata) -> None:
    """Replaces a checkpoint's metadata atomically; its tensors stay as they are, bit by bit."""
    path = Path(path)
    read_metadata(path)  # refuses to touch a file that is not ours
    _check_metadata(metadata, path.name)
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

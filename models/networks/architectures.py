"""The table of architectures: from a frozen config to a network, and from a checkpoint's JSON to a frozen config."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from models.errors import CheckpointError, InputError
from models.networks.cyclegan import PatchDiscriminator, PatchGANConfig, ResNetConfig, ResNetGenerator
from models.networks.dcgan import DCGANConfig, DCGANDiscriminator, DCGANDiscriminatorConfig, DCGANGenerator
from models.networks.mlp import MaxoutConfig, MaxoutDiscriminator, MLPConfig, MLPGenerator

_POWER_ITERATIONS = 15  # as many as torch takes when spectral norm is put on a layer

SamplerConfig = DCGANConfig | MLPConfig
GeneratorConfig = SamplerConfig | ResNetConfig
DiscriminatorConfig = DCGANDiscriminatorConfig | MaxoutConfig | PatchGANConfig

KINDS: dict[str, type[GeneratorConfig]] = {"dcgan": DCGANConfig, "mlp": MLPConfig, "cyclegan": ResNetConfig}


def build_generator(config: GeneratorConfig) -> nn.Module:
    """The generator or translator of a config, freshly made (see `initialize`)."""
    match config:
        case DCGANConfig():
            return DCGANGenerator(config)
        case MLPConfig():
            return MLPGenerator(config)
        case ResNetConfig():
            return ResNetGenerator(config)


def build_discriminator(config: DiscriminatorConfig) -> nn.Module:
    """The discriminator (or critic) of a config, freshly made (see `initialize`)."""
    match config:
        case DCGANDiscriminatorConfig():
            return DCGANDiscriminator(config)
        case MaxoutConfig():
            return MaxoutDiscriminator(config)
        case PatchGANConfig():
            return PatchDiscriminator(config)


def initialize(module: nn.Module) -> None:
    """DCGAN's initialisation, which CycleGAN took over: weights N(0, 0.02), batch norm's gamma N(1, 0.02), biases 0.

    Linear layers (the fully connected GAN, class embeddings) keep torch's own scheme: 0.02 would be far too small
    for layers that no normalisation follows. Under spectral norm the scale of a weight is no part of the function, but
    of how far a step of Adam turns it: from 0.02 the first layers turn too far at each to learn, so those begin as in
    Glorot and Bengio 2010, eq. 16 (docs/training.md has what that changed). Layers that do not train are left alone.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            if not any(parameter.requires_grad for parameter in layer.parameters()):
                continue
            if parametrize.is_parametrized(layer, "weight"):
                _begin_spectral(layer)
            else:
                nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)


def _begin_spectral(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    nn.init.xavier_uniform_(layer.get_parameter("parametrizations.weight.original"))
    for _ in range(_POWER_ITERATIONS):
        _ = layer.weight  # each look takes one step of the power iteration, which had settled on other weights


def kind_of(config: GeneratorConfig) -> str:
    """The `kind` that a checkpoint records for this config."""
    return next(kind for kind, cls in KINDS.items() if isinstance(config, cls))


def config_from(kind: str, fields: Mapping[str, Any]) -> GeneratorConfig:
    """The frozen config that a checkpoint's `kind` and `architecture` stand for.

    Raises:
        CheckpointError: the kind is unknown, or a field is unknown, missing its type or out of range.
    """
    if kind not in KINDS:
        raise CheckpointError(f"Unknown kind {kind!r}: this version knows {', '.join(KINDS)}.")
    known = {field.name for field in dataclasses.fields(KINDS[kind])}
    if unknown := sorted(set(fields) - known):
        raise CheckpointError(f"Unknown architecture fields for {kind}: {', '.join(unknown)}.")
    if wrong := sorted(name for name, value in fields.items() if type(value) is not int):
        raise CheckpointError(f"Architecture fields of {kind} must be whole numbers: {', '.join(wrong)}.")
    try:
        return KINDS[kind](**fields)
    except InputError as error:
        raise CheckpointError(f"The {kind} architecture is not valid: {error.message}") from error

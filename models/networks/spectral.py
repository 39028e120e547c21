"""Spectral norm (Miyato, Kataoka, Koyama, Yoshida 2018): weights are divided by their largest singular value.

torch estimates that value by a step of power iteration at every look in training mode (their algorithm 1). A generator
has the norm while it is trained only: a checkpoint holds the divided weights, which every engine runs as they are.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

LOOKS = 15  # at weights that are new, for the iteration to settle; as many as torch takes at first
_PLACE = "parametrizations"  # where torch keeps what a weight is made of


@dataclass(frozen=True)
class _Weight:
    """A matrix or a kernel: the module that holds it, under which name, and its name in the network."""

    module: nn.Module
    name: str
    path: str

    @property
    def norm(self) -> nn.Module | None:
        """What torch puts in its place, if it does."""
        normed = parametrize.is_parametrized(self.module, self.name)
        return self.module.get_submodule(f"{_PLACE}.{self.name}") if normed else None

    @property
    def stored(self) -> Tensor:
        """Before it is divided."""
        return self.module.get_parameter(self.name) if self.norm is None else self.norm.get_parameter("original")

    def look(self) -> Tensor:
        """As the network uses it; in training mode also a step of the power iteration."""
        weight: Tensor = getattr(self.module, self.name)
        return weight


def put_spectral_norm(network: nn.Module, *, embeddings: bool) -> None:
    """Puts it on every weight of the network that is a matrix or a kernel, in place.

    Args:
        embeddings: on tables of classes too: in discriminators, not in generators (Brock et al. 2019 leave theirs out).
    """
    for weight in _weights(network):
        if embeddings or not isinstance(weight.module, nn.Embedding):
            spectral_norm(weight.module, weight.name)


def settle_spectral_norm(network: nn.Module) -> None:
    """Takes the power iteration to its end for the weights as they are, such as averaged ones, in place."""
    for weight in _weights(network):
        if (norm := weight.norm) is not None:
            training = norm.training
            norm.train()
            for _ in range(LOOKS):
                weight.look()
            norm.train(training)


@contextlib.contextmanager
def held_spectral_norm(network: nn.Module, *, when: bool = True) -> Iterator[None]:
    """Within, looks at weights in training mode leave the power iteration where it is."""
    weights = _weights(network) if when else []
    norms = [norm for weight in weights if (norm := weight.norm) is not None and norm.training]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()


def state_without_spectral_norm(network: nn.Module) -> dict[str, Tensor]:
    """The state dictionary of the same network without the norm: its weights are the divided ones."""
    state = {name: value for name, value in network.state_dict().items() if f"{_PLACE}." not in name}
    with held_spectral_norm(network):
        return state | {one.path: one.look().detach() for one in _weights(network) if one.norm is not None}


def load_without_spectral_norm(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Gives a network the weights of one without the norm, in place; what is not named stays as it is."""
    normed = {one.path: one for one in _weights(network) if one.norm is not None and one.path in state}
    network.load_state_dict({name: value for name, value in state.items() if name not in normed}, strict=False)
    with torch.no_grad():
        for path, weight in normed.items():
            weight.stored.copy_(state[path])
    if normed:
        settle_spectral_norm(network)


def filters_of(generator: nn.Module) -> list[Tensor]:
    """Its matrices and kernels before they are divided, [outputs, ...] each; tables of classes are none."""
    weights = [one for one in _weights(generator) if not isinstance(one.module, nn.Embedding)]
    return [one.stored.transpose(0, 1) if isinstance(one.module, nn.ConvTranspose2d) else one.stored for one in weights]


def _weights(network: nn.Module) -> list[_Weight]:
    found = []
    for path, module in network.named_modules():
        if isinstance(module, parametrize.ParametrizationList):
            continue
        names = [name for name, weight in module.named_parameters(recurse=False) if weight.ndim > 1]
        if parametrize.is_parametrized(module):
            names += [name for name, _ in module.get_submodule(_PLACE).named_children()]
        found += [_Weight(module, name, f"{path}.{name}".removeprefix(".")) for name in names]
    return found

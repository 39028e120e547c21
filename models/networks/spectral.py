"""Spectral norm (Miyato, Kataoka, Koyama, Yoshida 2018): weights are divided by their largest singular value.

torch estimates that value by a step of power iteration at every look in training mode (their algorithm 1). A generator
has the norm while it is trained only: a checkpoint holds the divided weights, which every engine runs as they are.
"""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

_PLACE = "parametrizations"  # where torch keeps what a weight is made of, in a state dictionary
LOOKS = 15  # at weights that are new, for the iteration to settle; as many as torch takes at first


def put_spectral_norm(network: nn.Module, *, embeddings: bool) -> None:
    """Puts it on every weight of the network that is a matrix or a kernel, in place.

    Args:
        embeddings: on tables of classes too: in discriminators, not in generators (Brock et al. 2019 leave theirs out).
    """
    for module in list(network.modules()):
        if embeddings or not isinstance(module, nn.Embedding):
            for name, weight in list(module.named_parameters(recurse=False)):
                if weight.ndim > 1:
                    spectral_norm(module, name)


def settle_spectral_norm(network: nn.Module) -> None:
    """Takes the power iteration to its end for the weights as they are, such as averaged ones, in place."""
    for module, path in _normed(network):
        name = path.rpartition(".")[2]
        norm = module.get_submodule(f"{_PLACE}.{name}")
        training = norm.training
        norm.train()
        for _ in range(LOOKS):
            getattr(module, name)
        norm.train(training)


def state_without_spectral_norm(network: nn.Module) -> dict[str, Tensor]:
    """The state dictionary of the same network without the norm: its weights are the divided ones.

    Of a network in training mode it would be a look, and a step of the power iteration.
    """
    state = {name: value for name, value in network.state_dict().items() if f"{_PLACE}." not in name}
    return state | {path: getattr(module, path.rpartition(".")[2]).detach() for module, path in _normed(network)}


def _normed(network: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """The weights with the norm: the module that each belongs to, and its name in the network."""
    for path, module in network.named_modules():
        if parametrize.is_parametrized(module):
            for name, _ in module.get_submodule(_PLACE).named_children():
                yield module, f"{path}.{name}".removeprefix(".")

"""Directions in latent space that nobody had to name: what a generator, left to itself, changes most.

Two ways find them. Neither needs labels.

    sefa-K    closed form (SeFa: Shen and Zhou 2021, eq. 6): unit vectors that the generator's first layer A stretches
              most, the leading eigenvectors of A^T A. A function of the weights alone.
    pca-K     principal components (GANSpace: Haerkoenen et al. 2020, section 2): of the codes that the mapping gives;
              where there is no mapping, of the activations after the first layer, carried over to the latents by least
              squares (their eq. 3).

Both live in the generator's home (models/faces.py) and are scaled so that adding one once moves by one standard
deviation of what is drawn there. The sign of an eigenvector means nothing; its largest component is made positive, so
that equal weights give equal directions.
"""

import numpy as np
import torch
from scipy.linalg import eigh
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from models.errors import CheckpointError
from models.faces import Autoencoder, Generator
from models.latents import draw

COUNT = 8  # of each kind
_SAMPLES = 1000
_ROWS = 64  # of one batch


class _Seen(Exception):
    """Ends a forward pass at the layer that is looked at."""


def find_directions(network: Generator) -> dict[str, Tensor]:
    """All of them, `sefa-1` to `pca-8` (fewer where the latents have fewer components), float32 [size of home]."""
    return sefa(network) | _principal(network)


def sefa(network: Generator) -> dict[str, Tensor]:
    """The closed form alone: `sefa-1`, `sefa-2`, ... in the order of what the first layer makes of them."""
    size = network.size_of(network.home)
    # Whatever module holds the weights, rows of the identity less a row of zeros are the columns of A.
    probes = torch.cat([torch.zeros(1, size), torch.eye(size)])
    answers = _seen(network, probes, layer=0).double()
    weights = answers[1:] - answers[:1]
    products = (weights @ weights.T).numpy()
    count = min(COUNT, size)
    values, vectors = eigh(products, subset_by_index=[size - count, size - 1])
    # a first layer that sees a part of the latent alone (BigGAN's) has nothing to say of the rest
    found = np.ascontiguousarray(vectors.T[values > 1e-9 * values[-1]][::-1])
    if isinstance(network, Autoencoder):
        found = found * _codes(network).double().numpy().dot(found.T).std(axis=0)[:, None]
    return _named("sefa", found)


def _principal(network: Generator) -> dict[str, Tensor]:
    if isinstance(network, Autoencoder):
        codes = _codes(network).double().numpy()
        codes -= codes.mean(axis=0)
        coordinates = _coordinates(codes, codes.shape[1])
        # A component, times the deviation along it.
        return _named("pca", coordinates.T @ codes / np.sqrt(len(codes) - 1))
    latents = draw(range(_SAMPLES), network.latent_size)
    activations = _seen(network, latents, layer=1).double().numpy()
    coordinates = _coordinates(activations - activations.mean(axis=0), network.latent_size)
    # Coordinates along different components are uncorrelated, so that least squares is a product.
    fitted = coordinates.T @ latents.double().numpy()
    return _named("pca", fitted / np.linalg.norm(fitted, axis=1, keepdims=True).clip(1e-12))


def _coordinates(centred: np.ndarray, most: int) -> np.ndarray:
    """Those of rows [n, d] along at most so many leading principal components, each of length 1: [n, k]."""
    samples, count = len(centred), min(COUNT, most, *centred.shape)
    values, vectors = eigh(centred @ centred.T, subset_by_index=[samples - count, samples - 1])
    return vectors[:, values > 1e-9 * values[-1]][:, ::-1]


def _named(kind: str, rows: np.ndarray) -> dict[str, Tensor]:
    signs = np.sign(np.take_along_axis(rows, np.abs(rows).argmax(axis=1, keepdims=True), axis=1))
    upright = torch.from_numpy((rows * np.where(signs == 0, 1, signs)).astype(np.float32))
    return {f"{kind}-{number}": row.clone() for number, row in enumerate(upright, 1)}


def _codes(network: Autoencoder) -> Tensor:
    """What the mapping makes of the first seeds' latents, on the CPU."""
    return network.map(draw(range(_SAMPLES), network.latent_size).to(_device(network))).cpu()


@torch.inference_mode()
def _seen(network: Generator, points: Tensor, layer: int) -> Tensor:
    """What the first layer gives (layer 0), or what the second one gets (1), for points of home: [n, features].

    Raises CheckpointError where that is not finite.
    """
    classes = torch.zeros(len(network.classes), device=_device(network))
    if len(classes):
        classes[0] = 1
    parts = []
    for few in points.split(_ROWS):
        weights = classes.expand(len(few), -1) if len(classes) else None
        parts.append(_stopped(network, few.to(_device(network)), weights, layer))
    return torch.cat(parts)


def _stopped(network: Generator, points: Tensor, classes: Tensor | None, layer: int) -> Tensor:
    seen: list[Tensor] = []

    def after_the_first(_: nn.Module, __: object, output: Tensor) -> None:
        seen.append(output)
        raise _Seen

    def before_the_second(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0])
        if len(seen) == 2:
            raise _Seen

    layers = [module for module in network.parts["generator"].modules() if _is_layer(module)]
    if layer == 0:
        hooks = [module.register_forward_hook(after_the_first) for module in layers]
    else:
        hooks = [module.register_forward_pre_hook(before_the_second) for module in layers]
    try:
        network.draw(points, network.home, classes)
    except _Seen:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    answers = seen[-1].flatten(1).cpu()
    if not bool(torch.isfinite(answers).all()):
        raise CheckpointError("The first layer's output is not finite: its weights are broken.")
    return answers


def _is_layer(module: nn.Module) -> bool:
    """It has weights of its own that mix its inputs: no norm, no table of classes."""
    if isinstance(module, nn.Embedding | ParametrizationList):
        return False
    return is_parametrized(module) or any(one.ndim > 1 for one in module.parameters(recurse=False))


def _device(network: Generator) -> torch.device:
    return next(network.parts["generator"].parameters()).device

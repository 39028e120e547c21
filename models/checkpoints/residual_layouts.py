"""Residual samplers of two projects, read into BigGAN's and SNGAN's architectures.

    BigGAN-PyTorch   BigGAN at 32, 64 and 128 px, with or without a shared embedding and chunks of the latent
    StudioGAN        `big_resnet` (BigGAN), `resnet` (SNGAN, with or without classes)

Spectral norm is taken into the weights as eval mode has it: BigGAN-PyTorch takes one more step of the power iteration
from the vector it keeps, StudioGAN (torch's own) none. StudioGAN's batch norms add 1e-4 to a variance where ours add
1e-5, so the difference goes into the stored variance. Where each class has a scale and a shift of its own, the shared
embedding is the identity.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from models.checkpoints.told import Read, State, Told, as_tanh, refuse
from models.errors import CheckpointError
from models.networks.biggan import FIRST, BigGANConfig
from models.networks.sngan import SNGANConfig

_EPSILON = 1e-5  # that our batch norms add to a variance


@dataclass(frozen=True)
class _Names:
    """What one project calls the parts of a generator, and how it computes with them.

    Attributes:
        attention: queries, keys, values, output and gamma.
        epsilon: what its batch norms add to a variance.
        tables: a norm that hears of no shared embedding has a row for each class.
        matrix: a layer's weight without its spectral norm.
    """

    dense: str
    convs: tuple[str, str]
    shortcut: str
    norm: str
    gain: str
    shift: str
    image: str
    attention: tuple[str, str, str, str, str]
    epsilon: float
    tables: bool
    matrix: Callable[[State, str], Tensor]


def is_biggan(state: State) -> bool:
    """Whether a state dictionary is of BigGAN-PyTorch's generator."""
    return "linear.weight" in state and "blocks.0.0.conv1.weight" in state


def is_studio(state: State) -> bool:
    """Whether a state dictionary is of one of StudioGAN's residual generators."""
    return "linear0.bias" in state and "blocks.0.0.conv2d1.bias" in state


def read_biggan(state: State, told: Told) -> Read:
    """A generator of BigGAN-PyTorch as (our config, our state dictionary); raises CheckpointError."""
    if any(".conv3." in name for name in state):
        raise CheckpointError("It is a BigGAN-deep: only BigGAN's own blocks of two convolutions are read.")
    if any(".bn1.bn.running_mean" in name for name in state):
        raise CheckpointError(
            "Its batch norms are those over several devices (--cross_replica), which in eval mode add the gain that "
            "they are trained to multiply with: no network of ours does either."
        )
    if not any("stored_mean" in name for name in state):
        raise CheckpointError("It has no batch norms with stored statistics: other norms (--norm_style) are not read.")
    names = _Names(
        dense="linear",
        convs=("conv1", "conv2"),
        shortcut="conv_sc",
        norm="output_layer.0",
        gain="output_layer.0.gain",
        shift="output_layer.0.bias",
        image="output_layer.2",
        attention=("theta", "phi", "g", "o", "gamma"),
        epsilon=1e-5,
        tables=True,
        matrix=_stepped,
    )
    return _read_chunked(state, names, told)


def read_studio(state: State, told: Told) -> Read:
    """A residual generator of StudioGAN as (our config, our state dictionary); raises CheckpointError."""
    if any(name.startswith("info_") for name in state):
        raise CheckpointError("It is an InfoGAN, whose generator takes codes beside the latent: that is not read.")
    if any(".conv2d3." in name for name in state):
        raise CheckpointError("It is a BigGAN-deep: only BigGAN's own blocks of two convolutions are read.")
    names = _Names(
        dense="linear0",
        convs=("conv2d1", "conv2d2"),
        shortcut="conv2d0",
        norm="bn4",
        gain="bn4.weight",
        shift="bn4.bias",
        image="conv2d5",
        attention=("conv1x1_theta", "conv1x1_phi", "conv1x1_g", "conv1x1_attn", "sigma"),
        epsilon=1e-4,
        tables=False,
        matrix=_divided,
    )
    gain, first = _gain(state, names), names.matrix(state, names.dense)
    # without a shared embedding, a gain is of the latent's chunk, as large as the first layer's, or of classes
    if "shared.weight" in state or (gain is not None and gain.shape[1] == first.shape[1]):
        return _read_chunked(state, names, told)
    return _read_sngan(state, names, told)


# --- BigGAN ---


def _read_chunked(state: State, names: _Names, told: Told) -> Read:
    ours, blocks, attention = _trunk(state, names, told)
    embedding, gain = state.get("shared.weight"), _gain(state, names)
    if gain is None:
        raise CheckpointError("Its batch norms hear neither of a class nor of the latent.")
    of_classes = embedding is None and names.tables  # then gains are [classes, channels]
    if of_classes:
        embedding = torch.eye(len(gain))
    chunk, heard = ours["dense.weight"].shape[1], len(gain) if of_classes else gain.shape[1]
    chunked = heard == chunk + (0 if embedding is None else embedding.shape[1])
    if embedding is not None:
        ours["embedding.weight"] = embedding
    for number, place in enumerate(blocks):
        for norm in (0, 1):
            theirs, here = f"{place}.bn{norm + 1}", f"blocks.{number}.norms.{norm}"
            for what, name in (("gain", "gain"), ("shift", "bias")):
                weight = names.matrix(state, f"{theirs}.{name}")
                ours[f"{here}.{what}"] = weight.T.contiguous() if of_classes else weight
            ours |= _statistics(state, theirs, f"{here}.norm", names)
    config = BigGANConfig(
        **_sizes(ours, len(blocks)),
        latent_size=chunk * (len(blocks) + 1) if chunked else chunk,
        classes=0 if embedding is None else len(embedding),
        class_embedding=128 if embedding is None else embedding.shape[1],
        latent_chunks=chunked,
        attention=attention,
    )
    return config, ours


def _gain(state: State, names: _Names) -> Tensor | None:
    """What computes the gain of the first norm, where something does: [channels, heard]."""
    name = "blocks.0.0.bn1.gain"
    return names.matrix(state, name) if {f"{name}.weight", f"{name}.weight_orig"} & state.keys() else None


# --- SNGAN ---


def _read_sngan(state: State, names: _Names, told: Told) -> Read:
    ours, blocks, attention = _trunk(state, names, told)
    if attention:
        raise CheckpointError("It is an SNGAN with self-attention (SAGAN): only those without are read.")
    gain = _gain(state, names)
    for number, place in enumerate(blocks):
        for norm in (0, 1):
            theirs, here = f"{place}.bn{norm + 1}", f"blocks.{number}.norms.{norm}"
            statistics = _statistics(state, theirs, here, names)
            ours |= statistics
            if gain is None:
                ours |= {f"{here}.{what}": state[f"{theirs}.{what}"] for what in ("weight", "bias")}
                continue
            one = torch.ones_like(statistics[f"{here}.running_var"])
            ours |= {f"{here}.weight": one, f"{here}.bias": torch.zeros_like(one)}
            both = [names.matrix(state, f"{theirs}.{what}").T for what in ("gain", "bias")]
            ours[f"blocks.{number}.scales.{norm}.table.weight"] = torch.cat(both, dim=1)
    config = SNGANConfig(
        **_sizes(ours, len(blocks)),
        latent_size=ours["dense.weight"].shape[1],
        classes=0 if gain is None else gain.shape[1],
    )
    return config, ours


# --- what both share ---


def _trunk(state: State, names: _Names, told: Told) -> tuple[State, list[str], int]:
    """All but the blocks' norms: our tensors, where their blocks are, and the side of self-attention, or 0."""
    refuse(told.padding, "padding", "A residual sampler is padded with zeros")
    refuse(told.activation, "activation", "A residual sampler's activations are taken to be ReLU")
    places = [place for place in _places(state) if f"{place}.{names.convs[0]}.bias" in state]
    attending = [place for place in _places(state) if f"{place}.{names.attention[4]}" in state]
    if unknown := [place for place in _places(state) if place not in {*places, *attending}]:
        raise CheckpointError(f"Its {unknown[0]} is neither a residual block nor self-attention.")
    if len(attending) > 1:
        raise CheckpointError("It has self-attention at several resolutions: one is read.")
    ours = _layer(state, names.dense, "dense", names) | _layer(state, names.image, "image", names)
    for number, place in enumerate(places):
        for conv, name in enumerate(names.convs):
            ours |= _layer(state, f"{place}.{name}", f"blocks.{number}.convs.{conv}", names)
        ours |= _layer(state, f"{place}.{names.shortcut}", f"blocks.{number}.shortcut", names)
    ours |= {"norm.weight": state[names.gain], "norm.bias": state[names.shift]}
    ours |= _statistics(state, names.norm, "norm", names)
    side = 0
    for place in attending:
        number = len([one for one in places if _order(one) < _order(place)]) - 1
        side = FIRST * 2 ** (number + 1)
        for what, name in zip(("queries", "keys", "values", "output"), names.attention[:4], strict=True):
            ours[f"blocks.{number}.attention.{what}.weight"] = names.matrix(state, f"{place}.{name}")
        ours[f"blocks.{number}.attention.gamma"] = state[f"{place}.{names.attention[4]}"].reshape(())
    return as_tanh(ours, "image.weight", told), places, side


def _places(state: State) -> list[str]:
    """`blocks.0.0`, `blocks.0.1`, ..., in the order in which they are run."""
    found = {match[1] for name in state if (match := re.match(r"(blocks\.\d+\.\d+)\.", name))}
    return sorted(found, key=_order)


def _order(place: str) -> tuple[int, ...]:
    return tuple(int(number) for number in place.split(".")[1:])


def _sizes(ours: State, blocks: int) -> dict[str, int]:
    """What both architectures read off the shapes."""
    width, widest = ours["image.weight"].shape[1], ours["blocks.0.convs.0.weight"].shape[1]
    return {
        "image_size": FIRST * 2**blocks,
        "channels": ours["image.weight"].shape[0],
        "width": width,
        "max_multiplier": widest // width,
    }


def _layer(state: State, theirs: str, here: str, names: _Names) -> State:
    return {f"{here}.weight": names.matrix(state, theirs), f"{here}.bias": state[f"{theirs}.bias"]}


def _statistics(state: State, theirs: str, here: str, names: _Names) -> State:
    """A batch norm's mean and variance, wherever the project keeps them."""
    place = f"{theirs}.bn" if any(name.startswith(f"{theirs}.bn.") for name in state) else theirs
    kept = "running" if f"{place}.running_mean" in state else "stored"
    mean, variance = state[f"{place}.{kept}_mean"], state[f"{place}.{kept}_var"]
    counted = float(state.get(f"{place}.accumulation_counter", torch.zeros(1)))
    if counted:  # standing statistics are kept as sums
        mean, variance = mean / counted, variance / counted
    return {
        f"{here}.running_mean": mean,
        f"{here}.running_var": variance + (names.epsilon - _EPSILON),
        f"{here}.num_batches_tracked": torch.tensor(0),
    }


def _stepped(state: State, layer: str) -> Tensor:
    """BigGAN-PyTorch's: divided by what one step of the power iteration from `u0` gives."""
    weight, start = state[f"{layer}.weight"], state.get(f"{layer}.u0")
    if start is None:
        return weight
    rows = weight.flatten(1)
    right = normalize(start @ rows, eps=1e-12)
    left = normalize(right @ rows.T, eps=1e-12)
    return weight / (right @ rows.T @ left.T).squeeze()


def _divided(state: State, layer: str) -> Tensor:
    """torch's (`torch.nn.utils.spectral_norm`): divided by u^T W v, with both vectors as they are kept."""
    if f"{layer}.weight" in state:
        return state[f"{layer}.weight"]
    weight = state[f"{layer}.weight_orig"]
    return weight / (state[f"{layer}.weight_u"] @ weight.flatten(1) @ state[f"{layer}.weight_v"])

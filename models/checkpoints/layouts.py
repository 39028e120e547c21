"""What the tensors of another project's generator say: its architecture, and its state dictionary in our names.

Families are told apart by their tensors' names and shapes; width, depth, channels and latent size are read off
the shapes. Layers without weights leave no trace in a file: what they are is `Told` by whoever imports.

    ResNet   pytorch-CycleGAN-and-pix2pix and CUT: residual blocks `model.N.conv_block` between strided convolutions, or
             beside CUT's blurs (`filt`); padding with zeros shows in the numbers of the layers, reflection and
             replication do not
    U-Net    pytorch-CycleGAN-and-pix2pix: nested `model.model`, with batch norm or instance norm
    DCGAN    pytorch/examples: transposed convolutions of 4 x 4 pixels, `main.N`, or `model.N` or `N` alone
    BigGAN, SNGAN    `residual_layouts.py`
"""

import re
from collections.abc import Callable

import torch

from models.checkpoints.residual_layouts import is_biggan, is_studio, read_biggan, read_studio
from models.checkpoints.told import Read, State, Told, as_tanh, refuse
from models.errors import CheckpointError
from models.networks.cyclegan import ResNetConfig
from models.networks.dcgan import IMAGE_SIZES, DCGANConfig
from models.networks.unet import UNetConfig

_STATISTICS = re.compile(r"\.(running_mean|running_var|num_batches_tracked)$")


def read_layout(state: State, told: Told) -> Read:
    """A foreign generator as (our config, our state dictionary).

    Raises:
        CheckpointError: of no family, or of one but with arithmetic that ours does not have; the text says which.
    """
    state = _without_prefix(state)
    family = next((read for fits, read in _FAMILIES if fits(state)), None)
    if family is None:
        raise CheckpointError(
            "It is neither a ResNet or U-Net generator of pytorch-CycleGAN-and-pix2pix or CUT nor a generator of "
            "pytorch/examples' dcgan, nor one of BigGAN-PyTorch or a BigGAN or SNGAN of StudioGAN: its tensors begin "
            f"with {_beginning(state)}."
        )
    return family(state, told)


def _beginning(state: State) -> str:
    return ", ".join(f"{name} {list(value.shape)}" for name, value in list(state.items())[:3])


def _without_prefix(state: State) -> State:
    """Without what was put before every name by DataParallel (`module.`) or by a network that holds this (`netG.`)."""
    while len({name.partition(".")[0] for name in state}) == 1:
        rest = {name.partition(".")[2]: value for name, value in state.items()}
        inside = {name.partition(".")[0] for name in rest}
        if any(name == "" or name.isdigit() for name in inside) or (inside == {"model"} and _is_unet(state)):
            break
        state = rest
    return state


# --- ResNet ---


def _is_resnet(state: State) -> bool:
    return any(re.match(r"model\.\d+\.conv_block\.", name) for name in state)


def _read_resnet(state: State, told: Told) -> Read:
    """`model.N` are the layers in our own order; in a block, padding and dropout shift where the convolutions stand."""
    refuse(told.activation, "activation", "A ResNet generator's activations are ReLU")
    if _norms_have_weights(state):
        kind = "batch norm" if _has_statistics(state) else "instance norm with affine=True"
        raise CheckpointError(f"Its normalisation has weights ({kind}): only instance norm without them is read.")
    state = _without_statistics(state)
    first = state.get("model.1.weight")
    if first is None or first.ndim != 4:
        raise CheckpointError("It has residual blocks, but no convolution as its layer model.1.")
    width, channels = first.shape[:2]
    places = _places(state)
    starts = {numbers[0] for numbers in places.values()}
    if starts == {0}:
        refuse(told.padding, "padding", "The numbers of its layers say that it is padded with zeros")
    ours = {}
    for name, value in state.items():
        block = re.fullmatch(r"model\.(\d+)\.conv_block\.(\d+)\.(.*)", name)
        if block is None:
            ours["layers." + name.removeprefix("model.")] = value
        else:
            place = (1, 5)[places[block[1]].index(int(block[2]))]
            ours[f"layers.{block[1]}.layers.{place}.{block[3]}"] = value
    last = _ordered(state, r"model\.(\d+)\.weight")[-1]
    _check_channels(channels, state[last].shape[0])
    config = ResNetConfig(
        channels=channels,
        width=width,
        blocks=len(places),
        padding="zero" if starts == {0} else told.padding or "reflect",
        resampling="antialiased" if any(name.endswith(".filt") for name in state) else "strided",
    )
    return config, as_tanh(ours, "layers." + last.removeprefix("model."), told)


def _places(state: State) -> dict[str, list[int]]:
    """For each residual block, the numbers of its two convolutions."""
    places: dict[str, list[int]] = {}
    for name in state:
        if block := re.fullmatch(r"model\.(\d+)\.conv_block\.(\d+)\.weight", name):
            places.setdefault(block[1], []).append(int(block[2]))
    for block_, numbers in places.items():
        numbers.sort()
        if len(numbers) != 2:
            raise CheckpointError(f"Its residual block model.{block_} has {len(numbers)} convolutions: two are read.")
    return places


# --- U-Net ---


def _is_unet(state: State) -> bool:
    return any(name.startswith("model.model.") for name in state)


def _read_unet(state: State, told: Told) -> Read:
    """`model.model.0` is the outermost level's first layer, `model.model.1.model` the level inside, and so on."""
    refuse(told.activation, "activation", "A U-Net generator's activations are leaky ReLU and ReLU")
    refuse(told.padding, "padding", "A U-Net generator is padded with zeros")
    weighted = _norms_have_weights(state)
    if weighted and not _has_statistics(state):
        raise CheckpointError(f"{_NO_STATISTICS}, or are instance norms with affine=True: neither is read.")
    state = state if weighted else _without_statistics(state)
    width, channels = state["model.model.0.weight"].shape[:2]
    last = "model.model.3"
    _check_channels(channels, state[f"{last}.weight"].shape[1])
    levels = 1 + max(len(re.findall(r"\.model\b", name)) - 1 for name in state)
    config = UNetConfig(channels=channels, width=width, levels=levels, norm="batch" if weighted else "instance")
    return config, as_tanh(state, f"{last}.weight", told)


# --- DCGAN ---


_LAYER = r"(?:\w+\.)?(\d+)\.weight"


def _is_dcgan(state: State) -> bool:
    names = _ordered(state, _LAYER)
    return bool(names) and names[0].endswith("0.weight") and state[names[0]].ndim in (2, 4)


def _read_dcgan(state: State, told: Told) -> Read:
    """The layers in our own order: transposed convolution, batch norm, ReLU, ..., transposed convolution, tanh."""
    refuse(told.padding, "padding", "A DCGAN generator pads nothing")
    names = _ordered(state, _LAYER)
    if state[names[0]].ndim != 4:
        raise CheckpointError(
            f"Its first layer, {names[0]}, is linear: only DCGANs that begin with a transposed convolution are read."
        )
    convolutions = [state[name] for name in names if state[name].ndim == 4]
    if any(convolution.shape[2:] != (4, 4) for convolution in convolutions):
        sizes = ", ".join("x".join(map(str, one.shape[2:])) for one in convolutions)
        raise CheckpointError(f"Its kernels are {sizes}: only DCGANs whose kernels are all 4x4 are read.")
    prefix = names[0].rpartition(".weight")[0].rpartition(".")[0]
    ours = {"layers." + name.removeprefix(f"{prefix}." if prefix else ""): value for name, value in state.items()}
    if any(state[name].ndim == 4 and name.replace(".weight", ".bias") in state for name in names):
        raise CheckpointError("Its convolutions have biases: only those without, as DCGAN's own, are read.")
    if len(names) > len(convolutions) and not _has_statistics(state):
        raise CheckpointError(f"{_NO_STATISTICS}: an image would depend on what else is in its batch.")
    latent_size, widest = convolutions[0].shape[:2]
    width, channels = convolutions[-1].shape[:2]
    image_size = 4 * 2 ** (len(convolutions) - 1)
    if image_size not in IMAGE_SIZES:
        raise CheckpointError(f"A DCGAN of {image_size} px was found; {IMAGE_SIZES} can be imported.")
    for name in [name for name in ours if name.endswith("running_var")]:  # torch <= 0.4 did not count batches
        ours.setdefault(name.replace("running_var", "num_batches_tracked"), torch.tensor(0))
    config = DCGANConfig(
        image_size=image_size,
        channels=channels,
        latent_size=latent_size,
        width=width,
        max_multiplier=widest // width,
        activation=told.activation or "relu",
    )
    return config, as_tanh(ours, f"layers.{3 * len(convolutions) - 3}.weight", told)


# --- what the families share ---

_NO_STATISTICS = "Its batch norms keep no running statistics (track_running_stats=False)"
_FAMILIES: list[tuple[Callable[[State], bool], Callable[[State, Told], Read]]] = [
    (_is_resnet, _read_resnet),
    (_is_unet, _read_unet),
    (is_biggan, read_biggan),
    (is_studio, read_studio),
    (_is_dcgan, _read_dcgan),
]


def _norms_have_weights(state: State) -> bool:
    return any(value.ndim == 1 and name.endswith(".weight") for name, value in state.items())


def _without_statistics(state: State) -> State:
    """Of instance norms: torch <= 0.3 wrote statistics that were never used, and the authors' own loader drops them.

    From 0.4.1 on, which counts batches, they are there because the network uses them in eval mode.
    """
    if any(name.endswith(".num_batches_tracked") for name in state):
        raise CheckpointError(
            "Its instance norms keep running statistics (track_running_stats=True) and use them in eval mode; ours "
            "take each image's own. If its pictures were made in training mode, as CycleGAN's test.py does without "
            "--eval, remove running_mean, running_var and num_batches_tracked from the file, and import that."
        )
    return {name: value for name, value in state.items() if not _STATISTICS.search(name)}


def _has_statistics(state: State) -> bool:
    return any(name.endswith(".running_mean") for name in state)


def _check_channels(inputs: int, outputs: int) -> None:
    if inputs != outputs:
        raise CheckpointError(f"It turns {inputs} channels into {outputs}: both must be the same.")


def _ordered(state: State, pattern: str) -> list[str]:
    """The names that match, by the number in them."""
    found = [(int(match[1]), name) for name in state if (match := re.fullmatch(pattern, name))]
    return [name for _, name in sorted(found)]

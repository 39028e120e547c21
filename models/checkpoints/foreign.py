"""Checkpoints of other projects, converted to ours.

Two families are read, told apart by the names of their tensors; width, depth, channels and latent size are read off
the shapes, never asked for:

    pytorch-CycleGAN-and-pix2pix   `*_net_G*.pth`, ResNet with any width and number of blocks, saved from a plain or
                                   a DataParallel network (`module.`), with or without the instance norm statistics
                                   that torch <= 0.3 wrote and the authors' own loader throws away
    pytorch/examples dcgan         `netG_epoch_*.pth`, 16 to 256 px

Foreign files are pickles. They are read with `weights_only=True`: tensors and plain containers load, anything that
would run code is refused.
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch

from models.checkpoints.checkpoint import save
from models.errors import CheckpointError, InputError
from models.faces import Architecture
from models.files import sha256_of
from models.metadata import Metadata
from models.networks.cyclegan import ResNetConfig
from models.networks.dcgan import IMAGE_SIZES, DCGANConfig
from models.networks.table import face_of, kind_of, metadata_of

State = dict[str, torch.Tensor]


def import_checkpoint(
    source: str | Path,
    destination: str | Path,
    *,
    reverse: str | Path | None = None,
    domains: tuple[str, str] = ("a", "b"),
) -> Metadata:
    """Converts a foreign checkpoint and writes ours.

    Args:
        source: a foreign `.pth`; of a translator, the network from a to b.
        destination: the `.safetensors` to write.
        reverse: of a translator, the network from b to a, where there is one.
        domains: what a and b show, for translators.
    Returns:
        The metadata that was written.
    Raises:
        CheckpointError: unreadable, unsafe, of neither family, or the two directions differ in architecture.
    """
    config, state = read_foreign(source)
    names = [Path(source).name]
    digests = [sha256_of(source)]
    part, *others = face_of(config).PARTS
    parts, translates = {part: state}, "b_to_a" in others
    if reverse is not None:
        if not translates:
            raise CheckpointError(f"{names[0]} is of kind {kind_of(config)}: it has no reverse direction.")
        reverse_config, parts["b_to_a"] = read_foreign(reverse)
        if reverse_config != config:
            raise CheckpointError(f"The two directions differ: {config} and {reverse_config}.")
        names.append(Path(reverse).name)
        digests.append(sha256_of(reverse))
    metadata = metadata_of(
        config,
        domains=domains if translates else None,
        training={"imported_from": names, "imported_sha256": digests},
    )
    save(destination, parts, metadata)
    return metadata


def read_foreign(source: str | Path) -> tuple[Architecture, State]:
    """A foreign generator as (our config, our state dictionary); raises as `import_checkpoint` does."""
    name = Path(source).name
    state = {_plain(key): value for key, value in _read_tensors(Path(source)).items()}
    config: Architecture
    try:
        if "main.0.weight" in state:
            config, ours = _read_dcgan(state)
        elif "model.1.weight" in state:
            config, ours = _read_resnet(state)
        else:
            raise CheckpointError(
                f"{name} is neither a ResNet generator of pytorch-CycleGAN-and-pix2pix nor a generator of "
                f"pytorch/examples' dcgan: its tensors begin with {', '.join(list(state)[:3])}."
            )
        with torch.device("meta"):
            network = config.parts()[face_of(config).PARTS[0]]
        network.load_state_dict(ours, strict=True, assign=True)
    except (RuntimeError, InputError, KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"{name} does not have the layout that its family has: {error}") from error
    return config, ours


def _read_tensors(source: Path) -> Mapping[str, torch.Tensor]:
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
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(f"{source.name} holds more than tensors: save the generator's state_dict() alone.")
    return content


def _plain(key: str) -> str:
    return key.removeprefix("module.")


def _read_dcgan(state: State) -> tuple[DCGANConfig, State]:
    """`main.N` are the layers in our own order: convolution, batch norm, ReLU, ..., convolution, tanh."""
    convolutions = [state[key] for key in _ordered(state, r"main\.(\d+)\.weight") if state[key].ndim == 4]
    latent_size, widest = convolutions[0].shape[:2]
    width, channels = convolutions[-1].shape[:2]
    image_size = 4 * 2 ** (len(convolutions) - 1)
    if image_size not in IMAGE_SIZES:
        raise CheckpointError(f"A DCGAN of {image_size} px was found; {IMAGE_SIZES} can be imported.")
    config = DCGANConfig(
        image_size=image_size,
        channels=channels,
        latent_size=latent_size,
        width=width,
        max_multiplier=widest // width,
    )
    ours = {"layers." + key.removeprefix("main."): value for key, value in state.items()}
    for key in [key for key in ours if key.endswith("running_var")]:  # torch <= 0.4 did not count batches
        ours.setdefault(key.replace("running_var", "num_batches_tracked"), torch.tensor(0))
    return config, ours


def _read_resnet(state: State) -> tuple[ResNetConfig, State]:
    """`model.N` are the layers in our own order; inside a block, dropout may shift the second convolution by one."""
    norms = re.compile(r"\.(running_mean|running_var|num_batches_tracked)$")
    state = {key: value for key, value in state.items() if not norms.search(key)}
    if any(value.ndim == 1 and key.endswith(".weight") for key, value in state.items()):
        raise CheckpointError("Its normalisation has weights (batch norm): only instance norm without them is read.")
    width, channels = state["model.1.weight"].shape[:2]
    blocks = {int(match[1]) for key in state if (match := re.match(r"model\.(\d+)\.conv_block\.", key))}
    ours = {}
    for key, value in state.items():
        key = "layers." + key.removeprefix("model.")
        key = re.sub(r"\.conv_block\.6\.", ".conv_block.5.", key)
        ours[key.replace(".conv_block.", ".layers.")] = value
    outputs = state[_ordered(state, r"model\.(\d+)\.weight")[-1]].shape[0]
    if outputs != channels:
        raise CheckpointError(f"It turns {channels} channels into {outputs}: both must be the same.")
    return ResNetConfig(channels=channels, width=width, blocks=len(blocks)), ours


def _ordered(state: State, pattern: str) -> list[str]:
    """The keys that match, by the number in them."""
    found = [(int(match[1]), key) for key in state if (match := re.fullmatch(pattern, key))]
    return [key for _, key in sorted(found)]

"""A checkpoint's network as ONNX, run in ONNX Runtime against torch, and the difference kept with the checkpoint.

The file holds one network: a sampler (`latents` [batch, latent] and, for conditional ones, `classes` int64 [batch]
-> `images`; of an autoencoder, mapping and generator, without the encoder) or one direction of a translator (`images`
[batch, c, height, width] -> `translations`), all images float32 in [-1, 1]. Batch is free; so are a translator's height
and width, in multiples of its stride.
"""

import argparse
import dataclasses
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from metrics import onnx_session
from models import (
    Autoencoder,
    GanError,
    Generator,
    InputError,
    Model,
    Translator,
    atomic_path,
    draw,
    load,
    sample_seeds,
    to_uint8,
    with_metadata,
)
from training.engine.console import say
from training.engine.packages import require_packages
from training.games.autoencoder import Drawing

ABOUT = "Write a checkpoint's networks as ONNX, checked against torch."
TOLERANCE = 1e-3  # of [-1, 1]: an eighth of the step between two of 256 levels


@dataclass(frozen=True)
class Parity:
    """How far ONNX Runtime's images were from torch's, over everything that was tried.

    largest: absolute difference, of [-1, 1]. levels: the same after rounding to uint8. shapes: of the images made.
    """

    largest: float
    levels: int
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Network:
    """What is exported: a module, names and examples of its inputs, which of their axes are free, and its output.

    examples: the inputs of several calls, each of another shape; the first is traced.
    record: the name among the checkpoint's metrics under which the parity is kept.
    """

    module: nn.Module
    inputs: tuple[str, ...]
    output: str
    examples: Sequence[tuple[Tensor, ...]]
    free_axes: tuple[Mapping[int, object], ...]
    record: str


def export(checkpoint: Path, out: Path, *, direction: str | None = None) -> Parity:
    """Writes `out`, checks it, and adds the parity to the checkpoint's metadata (which changes its digest).

    Args:
        direction: of a translator: "a_to_b" or "b_to_a"; None takes the first that the file holds.

    Raises:
        InputError: a direction that the checkpoint does not have.
        CheckpointError: the checkpoint is not one.
        GanError: ONNX Runtime's images differ from torch's by more than a thousandth; `out` is not written.
    """
    model = load(checkpoint)
    network = _network(model, direction)
    with atomic_path(out) as temporary:
        _write(network, temporary, {"model": checkpoint.stem, "kind": model.metadata.kind})
        parity = _compare(network, temporary)
        if not parity.largest <= TOLERANCE:  # nor NaN
            raise GanError(
                f"ONNX Runtime's images differ from torch's by up to {parity.largest:.2g}, where {TOLERANCE:g} is "
                f"the most that is accepted: {out.name} was not written."
            )
    record = {
        "value": parity.largest,
        "protocol": "largest absolute difference of ONNX Runtime's images from torch's, in [-1, 1]",
        "levels": parity.levels,
        "shapes": parity.shapes,
        "versions": {"torch": torch.__version__, "onnxruntime": version("onnxruntime")},
    }
    metrics = {**model.metadata.metrics, network.record: record}
    with_metadata(checkpoint, dataclasses.replace(model.metadata, metrics=metrics))
    return parity


@singledispatch
def _network(model: Model, direction: str | None) -> Network:
    raise InputError(f"A model that {model.DOES} cannot be exported.")


@_network.register
def _of_generator(model: Generator, direction: str | None) -> Network:
    if direction is not None:
        raise InputError("This checkpoint is a sampler: leave --direction out.", where="direction")
    batch = {0: torch.export.Dim("batch")}
    examples = []
    for n in (2, 1, 5):
        latents = draw(sample_seeds(n, n), model.latent_size)
        classes = (torch.arange(n) % len(model.classes),) if model.classes else ()
        examples.append((latents, *classes))
    inputs = ("latents", "classes") if model.classes else ("latents",)
    return Network(_drawing(model), inputs, "images", examples, (batch,) * len(inputs), "onnx_parity")


def _drawing(model: Generator) -> nn.Module:
    """Latents (and classes) to images."""
    if isinstance(model, Autoencoder):
        return Drawing(model.parts["mapping"], model.parts["generator"]).eval()
    return model.parts["generator"]


@_network.register
def _of_translator(model: Translator, direction: str | None) -> Network:
    direction = direction or model.directions[0]
    if direction not in model.directions:
        raise InputError(
            f"--direction is {direction}, but the checkpoint holds {' and '.join(model.directions)}.",
            where="direction",
        )
    stride, least = model.stride, max(model.minimum_size, 32)
    examples = []
    for n, height, width in ((2, least, least + stride), (1, 3 * least, least), (3, least, least)):
        noise = np.random.default_rng(n).uniform(-1, 1, (n, model.channels, height, width))
        examples.append((torch.from_numpy(noise).float(),))
    axes = {0: torch.export.Dim("batch"), **{2: stride * torch.export.Dim("h"), 3: stride * torch.export.Dim("w")}}
    record = f"onnx_parity_{direction}"
    return Network(model.parts[direction], ("images",), "translations", examples, (axes,), record)


def _write(network: Network, path: Path, about: dict[str, str]) -> None:
    with warnings.catch_warnings():
        # torch's exporter walking into its own deprecation; and two inputs that share the batch axis, as they should
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "# The axis name: batch will not be used", UserWarning)
        program = torch.onnx.export(
            network.module,
            network.examples[0],
            input_names=network.inputs,
            output_names=[network.output],
            dynamic_shapes=network.free_axes,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # it is only where dynamo is False
    program.model.metadata_props.update(about)
    program.save(path, external_data=False)


def _compare(network: Network, path: Path) -> Parity:
    largest, levels, shapes = 0.0, 0, []
    for ours, theirs in _both(network, path):
        difference = (ours - theirs).abs().max().item()
        largest = difference if difference != difference else max(largest, difference)  # NaN wins
        levels = max(levels, int(np.abs(to_uint8(ours).astype(int) - to_uint8(theirs)).max()))
        shapes.append(tuple(ours.shape))
    return Parity(largest, levels, tuple(shapes))


def _both(network: Network, path: Path) -> Iterator[tuple[Tensor, Tensor]]:
    session = onnx_session(path.read_bytes(), path.name)
    for example in network.examples:
        with torch.inference_mode():
            ours = network.module(*example)
        feed = {name: tensor.numpy() for name, tensor in zip(network.inputs, example, strict=True)}
        (theirs,) = session.run([network.output], feed)
        yield ours, torch.from_numpy(theirs)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `python -m training export`."""
    parser.add_argument("checkpoint", type=Path, help="NAME.safetensors; the measured parity is added to its metadata")
    parser.add_argument("out", type=Path, metavar="OUT.onnx")
    parser.add_argument("--direction", choices=("a_to_b", "b_to_a"), help="of a translator (default: the first it has)")


def run(typed: argparse.Namespace) -> int:
    """Exports, and prints the parity.

    Raises:
        InputError, CheckpointError, GanError: as `export`; a checkpoint or a folder that does not exist.
    """
    if not typed.checkpoint.is_file():
        raise InputError(f"There is no checkpoint {str(typed.checkpoint)!r}.", where="checkpoint")
    if typed.out.suffix != ".onnx" or not typed.out.parent.is_dir():
        raise InputError(f"OUT must be a .onnx file in a folder that exists; got {str(typed.out)!r}.", where="out")
    if typed.out.exists() and typed.out.samefile(typed.checkpoint):
        raise InputError(f"OUT {str(typed.out)!r} is the checkpoint itself: name another file.", where="out")
    require_packages("onnx", "onnxscript", "onnxruntime")
    parity = export(typed.checkpoint, typed.out, direction=typed.direction)
    say(
        f"{typed.out}: up to {parity.largest:.2g} from torch in [-1, 1], {parity.levels} of 255 levels, over images "
        f"of {', '.join('x'.join(map(str, shape)) for shape in parity.shapes)}",
        sys.stdout,
    )
    return 0

"""`python -m training probe`: how well what an encoder sees of images tells their classes apart.

The encoder learned without labels; two simple classifiers that have them look at what it makes of the training images,
and name the test images: the nearest neighbour, and a linear support vector machine. Two layers are looked at, as the
paper does (Pidhorskyi et al. 2020, table 1): the code, its "short features", and the activations before the encoder's
last layer, its "long features". Where the first hidden layer is another one of plain vectors, as a fully connected
encoder's is, it is looked at too: "first".
"""

import argparse
import math
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from models import Autoencoder, InputError, commandline, load, to_float
from training.data.images import Dataset, load_labelled
from training.engine.console import say

ABOUT = "Measure how well an encoder's features tell classes apart: nearest neighbour and linear accuracy."
BATCH = 500  # images to encode, and rows of a distance matrix, at a time
ABOUT_LAYERS = {
    "first": "activations of the encoder's first layer",
    "long": "activations before the encoder's last layer",
    "short": "components of codes",
}
PENALTY = 1e-3  # of the linear classifier's squared weights, for features of deviation 1
STEPS = 200  # of its optimizer at most


@dataclass(frozen=True)
class Labelled:
    """Features float32 [n, d] and labels int64 [n]."""

    features: Tensor
    labels: Tensor


def nearest_neighbour_accuracy(train: Labelled, test: Labelled) -> float:
    """Share of the test rows whose nearest training row, by Euclidean distance, has their label."""
    right = 0
    # the distance less the test row's own norm, which changes no order
    norms = train.features.square().sum(dim=1)
    for rows, labels in zip(test.features.split(BATCH), test.labels.split(BATCH), strict=True):
        nearest = torch.addmm(norms, rows, train.features.T, alpha=-2).argmin(dim=1)
        right += int((train.labels[nearest] == labels).sum())
    return right / len(test.labels)


def linear_accuracy(train: Labelled, test: Labelled) -> float:
    """Share of the test rows that a linear support vector machine names rightly: one against all others, squared hinge
    loss, of features that were brought to mean 0 and deviation 1."""
    mean, deviation = train.features.mean(dim=0), train.features.std(dim=0).clamp_min(1e-6)
    seen, shown = ((each.features - mean) / deviation for each in (train, test))
    sides = one_hot(train.labels).float() * 2 - 1
    weights = torch.zeros(seen.shape[1], sides.shape[1], requires_grad=True)
    biases = torch.zeros(sides.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, biases], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        missed = torch.relu(1 - sides * torch.addmm(biases, seen, weights)).square().sum(dim=1).mean()
        total = missed + PENALTY * weights.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    with torch.no_grad():
        named = torch.addmm(biases, shown, weights).argmax(dim=1)
    return float((named == test.labels).float().mean())


def interval(share: float, count: int) -> tuple[float, float]:
    """Where the share of all images that there could be lies in 95 of 100 cases (Wilson 1927), of one of `count`."""
    z = 1.96
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2) / (1 + z**2 / count)
    return middle - half, middle + half


def probe(model: Autoencoder, train: Dataset, test: Dataset) -> dict[str, dict[str, Any]]:
    """Both classifiers on each layer: {"nearest_neighbour_long": {"value": ...}, ...}, values in [0, 1].

    Args:
        train, test: images with labels, at the model's size.
    """
    found: dict[str, dict[str, Any]] = {}
    seen_by, shown_by = (_layers(model, data) for data in (train, test))
    for layer, seen in seen_by.items():
        shown = shown_by[layer]
        size = f"{seen.features.shape[1]} {ABOUT_LAYERS[layer]}"
        for name, classify in (("nearest_neighbour", nearest_neighbour_accuracy), ("linear", linear_accuracy)):
            accuracy = classify(seen, shown)
            found[f"{name}_{layer}"] = {
                "value": accuracy,
                "interval": interval(accuracy, len(test)),
                "images": len(test),
                "reference": f"{train.name} train",
                "reference_images": len(train),
                "protocol": f"accuracy on {size}",
            }
    return found


@torch.inference_mode()
def _layers(model: Autoencoder, data: Dataset) -> dict[str, Labelled]:
    """What the encoder makes of all images, by the names of `ABOUT_LAYERS`."""
    assert data.labels is not None
    encoder, rows = model.parts["encoder"], defaultdict(list)
    for pixels in data.pixels.split(BATCH):
        images = to_float(pixels.numpy())
        hidden = encoder.features(images)  # type: ignore[operator]
        if len(hidden) > 1 and hidden[0].dim() == 2:
            rows["first"].append(hidden[0])
        rows["long"].append(hidden[-1].flatten(1))
        rows["short"].append(model.encode(images))
    return {name: Labelled(torch.cat(parts).clone(), data.labels) for name, parts in rows.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `python -m training probe`."""
    parser.add_argument("checkpoint", type=Path, help="NAME.safetensors of an autoencoder")
    parser.add_argument(
        "--data", type=commandline.place, required=True, help="MNIST, CIFAR-10, or train and test, one folder per class"
    )


def run(typed: argparse.Namespace) -> int:
    """Prints a line for each accuracy.

    Raises:
        InputError, CheckpointError: the checkpoint is none of an autoencoder; as `load_labelled`.
    """
    if not typed.checkpoint.is_file():
        raise InputError(f"There is no checkpoint {str(typed.checkpoint)!r}.", where="checkpoint")
    model = load(typed.checkpoint, Autoencoder)
    for name, entry in probe(model, *load_labelled(typed.data, model.image_size, model.channels)).items():
        words = name.replace("_", " ")
        say(f"{words:24}{entry['value']:8.2%}  {entry['protocol']}, of {entry['images']:,} test images", sys.stdout)
    return 0

"""How near a model comes to photos that it was not trained on, and how long that takes.

    python -m benchmarks.inversion models/pretrained/cifar10-dcgan.safetensors PHOTOS

PHOTOS is a folder or archive of held-out photos, of which `--count` are taken, evenly spaced. A model with an encoder
encodes them; of any other, latents are found by optimisation, as POST /v1/jobs/encode does. Printed as JSON, means over
the photos: the absolute difference of photo and reconstruction (L1, 0 to 1), the perceptual distance, and seconds of
one core. For scale, the same distances of the nearest among 256 samples, and of another photo.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import metrics
import models
from service.engine.inversion import Search, candidates, invert

Distances = tuple[float, float]


def main() -> None:
    """Measures one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("photos")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = models.load(options.checkpoint, models.Generator)
    distance = metrics.perceptual_distance()
    search = Search(options.starts, options.steps)
    photos = held_out(options.photos, options.count, network)
    samples = drawn(network, 256)
    found, nearest, others, seconds = [], [], [], []
    for number, photo in enumerate(photos):
        started = time.process_time()
        again = reconstruction(network, photo, number, search, distance)
        seconds.append(time.process_time() - started)
        found.append(apart(photo, again, distance))
        nearest.append(min((apart(photo, sample[None], distance) for sample in samples), key=lambda one: one[1]))
        others.append(apart(photo, photos[number - 1], distance))
    print(
        json.dumps(
            {
                "photos": len(photos),
                "reconstruction": means(found),
                "nearest_of_256_samples": means(nearest),
                "another_photo": means(others),
                "seconds": round(statistics.median(seconds), 3),
            },
            indent=2,
        )
    )


def held_out(source: str, count: int, network: models.Generator) -> list[torch.Tensor]:
    """Photos [1, c, s, s] in [-1, 1], cut and scaled as for training."""
    loaders = list(metrics.open_images(source).loaders())
    pictures = [Image.fromarray(one()) for one in loaders[:: max(1, len(loaders) // count)][:count]]
    squares = [models.centre_square(one, network.image_size, network.channels) for one in pictures]
    return list(models.to_float(np.stack(squares)).split(1))


@torch.inference_mode()
def drawn(network: models.Generator, count: int) -> torch.Tensor:
    """The first seeds' samples, their classes in turn."""
    classes = torch.arange(count) % len(network.classes) if network.classes else None
    return network(models.draw(range(count), network.latent_size), classes)


def reconstruction(
    network: models.Generator, photo: torch.Tensor, number: int, search: Search, distance: metrics.PerceptualDistance
) -> torch.Tensor:
    """[1, c, s, s]: by the encoder or, without one, by search."""
    if isinstance(network, models.Autoencoder):
        return network.decode(network.encode(photo))
    seeds = models.sample_seeds(number * candidates(1), candidates(1))
    return invert(network, photo, search, seeds, distance, lambda *_: None).images


@torch.inference_mode()
def apart(one: torch.Tensor, other: torch.Tensor, distance: metrics.PerceptualDistance) -> Distances:
    """(L1, perceptual)."""
    return float((one - other).abs().mean()) / 2, float(distance(one, other))


def means(rows: list[Distances]) -> dict[str, float]:
    """Of each of the two."""
    l1, perceptual = zip(*rows, strict=True)
    return {"l1": round(statistics.mean(l1), 4), "perceptual": round(statistics.mean(perceptual), 4)}


if __name__ == "__main__":
    main()

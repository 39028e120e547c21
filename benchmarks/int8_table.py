"""Makes `metrics/network/int8.safetensors`: 8-bit integers for Inception's layers (`metrics/network/int8.py`).

    python -m benchmarks.int8_table HORSES ZEBRAS CIFAR10      folders or archives of pictures

As many pictures of each are taken, evenly spaced over it; any natural ones will do, since only each layer's largest and
mean activations are looked at.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from metrics import PROTOCOLS, open_images
from metrics.network import int8
from metrics.network.inception import SIDE, build
from metrics.network.weights import load


def main() -> None:
    """Writes the table and says how large it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", help="what `metrics.open_images` takes")
    parser.add_argument("--each", type=int, default=48, help="pictures of each source")
    parser.add_argument("--out", type=Path, default=int8.TABLE)
    options = parser.parse_args()
    prepare = PROTOCOLS["pytorch-fid"].prepare
    pictures = []
    for source in options.sources:
        loaders = list(open_images(source).loaders())
        some = loaders[:: max(1, len(loaders) // options.each)][: options.each]
        pictures += [prepare(loader(), SIDE) for loader in some]
    table = int8.calibrated(build(load().tensors), torch.stack(pictures))
    save_file(table, options.out)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes, from {len(pictures)} pictures")


if __name__ == "__main__":
    main()
